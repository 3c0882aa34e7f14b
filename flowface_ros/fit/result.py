"""What a fit returns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from flowface_ros.fit import kernels, robust
from flowface_ros.fit.covariance import Posterior
from flowface_ros.fit.levenberg import Report
from flowface_ros.fit.priors import ShapeBelief
from flowface_ros.fit.views import Views
from flowface_ros.head.state import HeadState, Unknowns

Array = NDArray[np.float64]

CONSISTENT_SCALE = 3.0
"""A view's residuals over their sigmas (robust) above which it does not agree with the head."""


class FitStatus(Enum):
    """Whether a result is a head, and if not, why."""

    OK = "ok"
    NO_VIEWS = "no observation"
    TOO_FEW_POINTS = "too few usable points"
    NO_START = "no pose from which the points can be explained"
    BEHIND_CAMERA = "points behind every camera"
    NOT_CONVERGED = "not converged"
    UNCERTAIN = "the pose is not determined"
    DISAGREES = "no head explains the observations"


@dataclass(frozen=True)
class ViewStatistics:
    """How well one view agrees with the head.

    count: usable points. rmse_px: root mean square reprojection error, weighted by 1 / sigma^2.
    median_px: median reprojection error. scale: residuals over their sigmas, from their median; 1
    when sigmas are right. inlier_share: share of the information that the robust loss kept.
    consistent: whether the view agrees with the head.
    """

    camera: str
    count: int
    rmse_px: float
    median_px: float
    scale: float
    inlier_share: float
    consistent: bool


@dataclass(frozen=True, eq=False)
class FitResult:
    """One fit. Unless `valid`, the state is a guess that nothing may be built on.

    state: with the covariance of the full vector, None when there is none. Entries that were not
    solved for have the covariance that they were given, zero if none.
    views: statistics by camera, in the rig's order.
    unknowns, posterior: what was solved for and known of it; None when no fit was made.
    prior_force: (n,) gradient of the priors' energy at the solution.
    belief: what was known of the shape before this fit. used_prior: whether earlier frames were.
    focal_factor, focal_sigma: of the unknown focal length over the nominal one; 1 and 0 if known.
    steady: what steady errors add to the state's covariance while the shape is held; None when
    there are none. steady_meat: (n, n) covariance of their pull at the unknowns.
    """

    status: FitStatus
    state: HeadState
    views: tuple[ViewStatistics, ...] = ()
    report: Report | None = None
    unknowns: Unknowns | None = None
    posterior: Posterior | None = None
    prior_force: Array | None = None
    belief: ShapeBelief | None = None
    used_prior: bool = False
    focal_factor: float = 1.0
    focal_sigma: float = 0.0
    steady: Array | None = None
    steady_meat: Array | None = None

    @property
    def valid(self) -> bool:
        return self.status is FitStatus.OK


def view_statistics(views: Views, squared: Array, nu: float) -> tuple[ViewStatistics, ...]:
    """Statistics of each view at residuals r^T W r (K,), NaN behind the camera."""
    sums = np.empty((len(views.cameras), 5))
    kernels.agreement(squared, views.sigma, views.start, nu, sums)
    found = []
    for c, (name, row) in enumerate(zip(views.cameras, sums.tolist(), strict=True)):
        part = views.of(c)
        found.append(_statistics(name, squared[part], views.sigma[part], row))
    return tuple(found)


def inlier_share(views: Views, squared: Array, nu: float) -> float:
    """Share of the information that the robust loss kept at residuals (K,), NaN behind the camera;
    1 when all residuals are zero."""
    if not len(squared):
        return 0.0
    sums = np.empty((len(views.cameras), 5))
    kernels.agreement(squared, views.sigma, views.start, nu, sums)
    *_, kept, every = sums.sum(axis=0).tolist()
    return kept / every


def _statistics(name: str, squared: Array, sigma: Array, sums: list[float]) -> ViewStatistics:
    """Of one view with the sums of `kernels.agreement`."""
    seen, total, stated, kept, every = sums
    count = int(seen)
    if not count:
        return ViewStatistics(name, 0, np.nan, np.nan, np.nan, 0.0, False)
    s, px = squared, sigma
    if count < len(squared):
        front = ~np.isnan(squared)
        s, px = squared[front], sigma[front]
    scale = robust.residual_scale(s)
    return ViewStatistics(
        name,
        count,
        rmse_px=math.sqrt(total / stated),
        median_px=math.sqrt(robust.median(s * px * px)),
        scale=scale,
        inlier_share=kept / every,
        consistent=scale < CONSISTENT_SCALE and count > 0.5 * len(squared),
    )
