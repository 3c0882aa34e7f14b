"""Where the truth is to be expected, off the solution, because projection is not linear.

The solution is the most probable head. With the shape unknown the heads that are nearer to the
camera and smaller are fewer: a nearer head's coefficients are known better, so less of their
distribution's volume goes with it. The mean of the posterior is farther away by part of a standard
deviation, to second order (Tierney and Kadane, Accurate approximations for posterior moments, 1986)

    -C g,   g_i = sum_jk C_jk E_ijk / 2

with E_ijk the third derivatives of the energy, here those of the projection, and C both the
Hessian's inverse and the errors' covariance. Where errors are correlated these differ. The
projection's bend by the errors, tr(H C) / 2, is then that of their covariance; of how its slope
bends, H C P, errors take as much as they give, and the Hessian's inverse is left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.fit.views import Views

Array = NDArray[np.float64]

_POINTS = 150
"""Of the surface, evenly thinned: what is summed is smooth over it."""


def mean_pull(
    views: Views, points: Array, jacobian: Array, covariance: Array, inverse: Array
) -> Array:
    """g (n,) of points (N, 3) with Jacobian (N, 3, n), the covariance (n, n) of the unknowns'
    errors and the Hessian's inverse (n, n)."""
    count = len(points)
    rows = np.linspace(0, count - 1, min(_POINTS, count)).round().astype(int)
    of_point = np.full(count, -1)
    of_point[rows] = np.arange(len(rows))
    slopes = jacobian[rows]
    across = np.swapaxes(slopes, 1, 2)
    spread, model = (slopes @ matrix @ across for matrix in (covariance, inverse))
    pull = np.zeros((len(rows), 3))
    for c in range(len(views.cameras)):
        part = views.of(c)
        seen = of_point[views.row[part]]
        use = seen >= 0
        seen, weight = seen[use], views.weight[part][use]
        rotation = views.rotation[c]
        place = points[rows[seen]] @ rotation.T + views.translation[c]
        errors, inside = (rotation @ matrix[seen] @ rotation.T for matrix in (spread, model))
        np.add.at(pull, seen, _pull(place, errors, inside, weight, views.zoom[c]) @ rotation)
    return np.einsum("va,van->n", pull, slopes) * (count / len(rows))


def _pull(place: Array, spread: Array, model: Array, weight: Array, zoom: float) -> Array:
    """(k, 3) sum_ij W_ij (H_i M P_j + tr(H_i S) P_j / 2) in the camera's axes.

    P (2, 3) and H (2, 3, 3) are the first and second derivatives of the projection of places
    (k, 3), S their spread (k, 3, 3), M that of the Hessian's inverse, W their weight (k, 3): xx,
    xy, yy.
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
    first = np.einsum("kiab,kbc,kic->ka", curve, model, weighted)
    return first + 0.5 * np.einsum("ki,kia->ka", traces, weighted)
