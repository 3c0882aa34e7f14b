"""The unknowns of a head: pose, joints, expression, shape, and which of them are solved for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class HeadState:
    """One head at one moment. The full vector's order is that of the fields.

    translation: (3,) metres, origin of the head's frame in the rig frame.
    rotation: (3,) rotation vector of rig_from_head.
    neck, jaw, left_eye, right_eye: (3,) rotation vectors of the joints, radians.
    expression: (E,) coefficients.
    shape: (S,) coefficients, standard deviations.
    offsets: (V, 3) metres added to the neutral vertices, or None.
    covariance: (n, n) of the vector [translation, rotation, neck, jaw, left_eye, right_eye,
        expression, shape], n = 18 + E + S; the rotation block is of the left perturbation
        exp(d) @ R (rig axes). None when unknown.
    """

    translation: NDArray[np.float64]
    rotation: NDArray[np.float64]
    neck: NDArray[np.float64]
    jaw: NDArray[np.float64]
    left_eye: NDArray[np.float64]
    right_eye: NDArray[np.float64]
    expression: NDArray[np.float64]
    shape: NDArray[np.float64]
    offsets: NDArray[np.float64] | None = None
    covariance: NDArray[np.float64] | None = None
