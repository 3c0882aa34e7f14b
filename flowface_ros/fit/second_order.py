"""Where the truth is to be expected, off the solution, because projection is not linear.

The solution is the most probable head. With the shape unknown the heads that are nearer to the
camera and smaller are fewer: a nearer head's coefficients are known better, so less of their
distribution's volume goes with it. The mean of the posterior is farther away by part of a standard
deviation, to second order (Tierney and Kadane, Accurate approximations for posterior moments, 1986)

    -V g,   g_i = sum_jk V_jk E_ijk / 2

with V the posterior's covariance and E_ijk the third derivatives of its energy, here those of the
projection: how it bends, H, times how it slopes, P. The posterior weighs slopes P by the errors'
own covariance W, P W^-1 D of what the fit takes them for, D. With the gain G = V D W^-1 that is

    -G tr(H V) P / 2 - V H G P
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.fit.views import Views

Array = NDArray[np.float64]

_POINTS = 150
"""Of the surface, evenly thinned: what is summed is smooth over it."""


def mean_pulls(
    views: Views, points: Array, jacobian: Array, covariance: Array, gain: Array
) -> tuple[Array, Array]:
    """tr(H V) P / 2 and H G P (n,) of points (N, 3) with Jacobian (N, 3, n), the covariance V and
    the gain G (n, n) of the unknowns."""
    count = len(points)
    rows = np.linspace(0, count - 1, min(_POINTS, count)).round().astype(int)
    of_point = np.full(count, -1)
    of_point[rows] = np.arange(len(rows))
    slopes = jacobian[rows]
    across = np.swapaxes(slopes, 1, 2)
    spread, model = (slopes @ matrix @ across for matrix in (covariance, gain))
    pulls = np.zeros((2, len(rows), 3))
    for c in range(len(views.cameras)):
        part = views.of(c)
        seen = of_point[views.row[part]]
        use = seen >= 0
        seen, weight = seen[use], views.weight[part][use]
        rotation = views.rotation[c]
        place = points[rows[seen]] @ rotation.T + views.translation[c]
        errors, inside = (rotation @ matrix[seen] @ rotation.T for matrix in (spread, model))
        for sums, pull in zip(
            pulls, _pulls(place, errors, inside, weight, views.zoom[c]), strict=True
        ):
            np.add.at(sums, seen, pull @ rotation)
    bend, slope = np.einsum("iva,van->in", pulls, slopes) * (count / len(rows))
    return bend, slope


def _pulls(
    place: Array, spread: Array, gain: Array, weight: Array, zoom: float
) -> tuple[Array, Array]:
    """(k, 3) sum_ij W_ij tr(H_i S) P_j / 2 and sum_ij W_ij H_i G P_j in the camera's axes.

    P (2, 3) and H (2, 3, 3) are the first and second derivatives of the projection of places
    (k, 3), S their spread (k, 3, 3), G the gain there, W their weight (k, 3): xx, xy, yy.
    """
    x, y, z = place.T
    slope, curve = np.zeros((len(place), 2, 3)), np.zeros((len(place), 2, 3, 3))
    for i, across in enumerate((x, y)):
        slope[:, i, i], slope[:, i, 2] = zoom / z, -zoom * across / z**2
        curve[:, i, i, 2] = curve[:, i, 2, i] = -zoom / z**2
        curve[:, i, 2, 2] = 2 * zoom * across / z**3
    matrix = weight[:, [[0, 1], [1, 2]]]
    weighted = matrix @ slope
    traces = np.einsum("kiab,kab->ki", curve, spread)
    first = np.einsum("kiab,kbc,kic->ka", curve, gain, weighted)
    return 0.5 * np.einsum("ki,kia->ka", traces, weighted), first
