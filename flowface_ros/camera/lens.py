"""Lens models under ROS's names: from rays to the distorted z = 1 plane and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera import brown_conrady
from flowface_ros.camera.brown_conrady import BrownConrady
from flowface_ros.camera.equidistant import Equidistant

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

COEFFICIENT_COUNTS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
"""Coefficients that each model takes, in the order of OpenCV and of CameraInfo.d."""


@dataclass(frozen=True, eq=False)
class Lens:
    """A lens.

    model: `plumb_bob`, `rational_polynomial` or `equidistant`; "" without coefficients (as
        uncalibrated drivers send it) becomes `plumb_bob` without distortion.
    coefficients: (n,) k1 k2 p1 p2 [k3] of plumb_bob; k1 k2 p1 p2 k3 k4 k5 k6 [s1 s2 s3 s4 [tau_x
        tau_y]] of rational_polynomial; k1 k2 k3 k4 of equidistant. Zeros beyond a model's longest
        form are dropped: some drivers pad.

    Raises ValueError for an unknown model, a wrong number of coefficients, one that is not finite.
    """

    model: str = "plumb_bob"
    coefficients: NDArray[np.float64] = ()  # type: ignore[assignment]

    def __post_init__(self) -> None:
        values = np.array(self.coefficients, np.float64).reshape(-1)
        model = "plumb_bob" if self.model == "" and not values.any() else self.model
        if model not in COEFFICIENT_COUNTS:
            raise ValueError(
                f"distortion_model is {self.model!r}; known are {', '.join(COEFFICIENT_COUNTS)}"
            )
        counts = COEFFICIENT_COUNTS[model]
        if self.model == "":
            values = values[:0]
        elif len(values) > counts[-1] and not values[counts[-1] :].any():
            values = values[: counts[-1]]
        if len(values) not in counts:
            allowed = " or ".join(str(count) for count in counts)
            raise ValueError(
                f"distortion_coefficients has {len(values)} values; {model} takes {allowed}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"distortion_coefficients must be finite, got {values.tolist()}")
        values.flags.writeable = False
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "coefficients", values)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Lens)
            and self.model == other.model
            and np.array_equal(self.coefficients, other.coefficients)
        )

    def __hash__(self) -> int:
        return hash((self.model, (self.coefficients + 0.0).tobytes()))

    @property
    def bends(self) -> bool:
        """Whether the lens differs from a pinhole; an equidistant one without coefficients does."""
        return self.model == "equidistant" or bool(self.coefficients.any())

    @property
    def max_radius(self) -> float:
        """Radius on the undistorted z = 1 plane from which on the lens folds back, or infinite."""
        return self._mapping.max_radius

    def project(self, points: Array) -> tuple[Array, Array, Mask]:
        """Distort the directions of points (N, 3) in the camera frame.

        Returns the distorted points (N, 2) on the z = 1 plane, their derivatives (N, 2, 3) with
        respect to the points, and valid (N,): false behind a pinhole and beyond the radius or angle
        where the lens folds back. Values of invalid points mean nothing.
        """
        return self._mapping.project(points)

    def unproject(self, distorted: Array) -> tuple[Array, Mask]:
        """Unit rays (N, 3) of distorted points (N, 2) on the z = 1 plane, and valid (N,).

        False where no ray inside the lens's valid region leads to the point.
        """
        return self._mapping.unproject(distorted)

    @cached_property
    def _mapping(self) -> BrownConrady | Equidistant:
        return _mapping(self.model, tuple(self.coefficients.tolist()))


@lru_cache(maxsize=64)
def _mapping(model: str, coefficients: tuple[float, ...]) -> BrownConrady | Equidistant:
    """Kept, as drivers send the same lens with every image and its tables take a millisecond."""
    if model == "equidistant":
        return Equidistant(np.array(coefficients))
    padding = brown_conrady.COEFFICIENTS - len(coefficients)
    return BrownConrady(np.pad(np.array(coefficients, np.float64), (0, padding)))
