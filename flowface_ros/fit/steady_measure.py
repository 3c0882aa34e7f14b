"""How large an aligner's steady errors are, from people whose heads are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.observation import Observation
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.config import NoiseConfig, SteadyConfig
from flowface_ros.fit.correlation import fit_kernel, neutral_places
from flowface_ros.fit.steady import UPPER, field_modes, side_of_views, similarity_modes
from flowface_ros.fit.views import stack_views
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.rigid import rotation_from_rotvec

Array = NDArray[np.float64]

_RIDGE = 1e-3
"""Of a point's information: what few views say of it along their line of sight is not believed."""
_BINS, _LONGEST = 24, 0.12
"""Of distances (m) that the field's correlation is taken at."""
_LEAST_PEOPLE = 4
_VIEW_DEVIATION = np.array([0.005, 0.005, 0.005, 0.2, 0.2, 0.2, 0.02])
"""Of a view's own shift (m), turn (rad) and scale: hardly a limit, but for what it does not see."""


@dataclass(frozen=True, eq=False)
class PointErrors:
    """What views of one person say about where the N points are, against where they are.

    information: (N, 3, 3) and vector: (N, 3) in the head's axes, of one moment or summed over
    several. views: how many views of a point they hold. side: the mean of the squared sines of the
    angles from which these see the face.
    """

    information: Array
    vector: Array
    views: int
    side: float

    def __add__(self, other: PointErrors) -> PointErrors:
        return PointErrors(
            self.information + other.information,
            self.vector + other.vector,
            self.views + other.views,
            float(np.average([self.side, other.side], weights=[self.views, other.views])),
        )


def point_errors(
    evaluator: SurfaceEvaluator, observations: Sequence[Observation], rig: Rig, truth: HeadState
) -> PointErrors:
    """Of one moment; all observations are of the evaluator's points."""
    views = stack_views(observations, rig)
    nu = NoiseConfig().degrees_of_freedom
    information, vector = views.vertex_information(evaluator.positions(truth), nu, 1.0)
    head = rotation_from_rotvec(truth.rotation) @ rotation_from_rotvec(truth.neck)
    side = float(side_of_views(views, head, truth.translation).mean())
    return PointErrors(
        head.T @ information[:, UPPER] @ head, vector @ head, len(observations), side
    )


def measure_steady(
    model: HeadModel,
    points: SurfacePoints,
    people: Sequence[Sequence[PointErrors]],
    alone: Sequence[PointErrors],
) -> SteadyConfig:
    """Standard deviations over people of N points' displacements: of all together first, of the
    smooth field that is left, and of all together as each view has them on its own.

    people: each one's errors by view, two views or more, summed over moments, the more the less
    is left of errors that are not steady. alone: of single views of single moments, from all
    angles. ValueError for fewer than 4 people or one view.
    """
    if len(people) < _LEAST_PEOPLE:
        raise ValueError(f"people has {len(people)} entries, must have at least {_LEAST_PEOPLE}")
    if min(map(len, people)) < 2:
        raise ValueError("people must be seen by at least 2 views each")
    places = neutral_places(model, points)
    found = [_person_errors(views, places) for views in people]
    together, rest, own = (np.array(values) for values in zip(*found, strict=True))
    variances = np.mean(np.square(together), axis=0)
    # What views have on their own is in their mean too.
    mean_views = np.mean([len(views) for views in people])
    variances[3:6] = np.maximum(variances[3:6] - np.mean(own, axis=0) / mean_views, 0.0)
    deviation = np.sqrt(variances)
    variance, length = _field(places, rest)
    field = field_modes(places, length)[:, None, :, None] * np.diag(np.sqrt(variance))[:, None, :]
    front, side = _by_side(alone, places, deviation, field.reshape(*places.shape, -1))
    return SteadyConfig(
        shift=_three(deviation[:3]),
        turn=_three(deviation[3:6]),
        scale=float(deviation[6]),
        # Up is across every line of sight; how far a view is off along its own is not seen.
        view_shift=float(front[1]),
        view_turn=_three(front[3:6]),
        side_turn=_three(side[3:6]),
        side_scale=float(side[6]),
        field_variance=variance,
        field_length=length,
    )


def _person_errors(views: Sequence[PointErrors], places: Array) -> tuple[Array, Array, Array]:
    """Of one person: amounts (7,) of all points together, what is left of the points (N, 3) over
    their size, and the mean square (3,) of the turns that views have on their own."""
    person = reduce(add, views)
    modes = similarity_modes(places, person.information)
    displacement, size = _displacement(person)
    root = np.linalg.cholesky(person.information + _ridge(person)).swapaxes(1, 2)
    rows = (root @ modes).reshape(-1, modes.shape[2])
    seen = (root @ displacement[:, :, None]).reshape(-1)
    amounts = np.asarray(np.linalg.lstsq(rows, seen, rcond=None)[0], np.float64)
    rest = (displacement - modes @ amounts) / size[:, None]
    # The mean of V views is nearer to each of them than what they have in common.
    apart = np.sqrt(len(views) / (len(views) - 1))
    turns = np.array([apart * _own(view, places, modes @ amounts)[3:6] for view in views])
    return amounts, rest, np.mean(np.square(turns), axis=0)


def _three(values: Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _own(view: PointErrors, places: Array, known: Array) -> Array:
    """(7,) by which one view has the points (N, 3) moved beyond known displacements (N, 3)."""
    left = view.vector - np.einsum("nij,nj->ni", view.information, known)
    gain, _ = _view_gain(view, places)
    return gain @ left.reshape(-1)


def _view_gain(view: PointErrors, places: Array) -> tuple[Array, Array]:
    """(7, 3 N) from forces on the points to their shift, turn and scale as one view tells these,
    and their modes (N, 3, 7)."""
    modes = similarity_modes(places, view.information)
    flat = modes.reshape(-1, modes.shape[2])
    hessian = flat.T @ (view.information @ modes).reshape(flat.shape)
    hessian += np.diag(_VIEW_DEVIATION**-2.0)
    gain: Array = np.asarray(np.linalg.solve(hessian, flat.T), np.float64)
    return gain, modes


def _by_side(
    alone: Sequence[PointErrors], places: Array, together: Array, field: Array
) -> tuple[Array, Array]:
    """(7,) and (7,) standard deviations of what single views have beyond what amounts together
    (7,), and a field (N, 3, q) times their size, do to them: from the front, and what grows with
    the side.

    Squares are regressed on 1 and the fourth power of the sine, weighted by what is expected.
    """
    rows, squares = [], []
    for view in alone:
        gain, modes = _view_gain(view, places)
        _, size = _displacement(view)
        shared = np.concatenate([modes * together, field * size[:, None, None]], axis=2)
        shared = gain @ (view.information @ shared).reshape(gain.shape[1], -1)
        found = gain @ view.vector.reshape(-1)
        rows.append([1.0, view.side**2])
        squares.append(found**2 - np.square(shared).sum(axis=1))
    design, deviations = np.array(rows), []
    for values in np.transpose(squares):
        expected = np.maximum(design @ np.linalg.lstsq(design, values, rcond=None)[0], 0.0)
        weights = 1 / (expected + 0.1 * np.abs(values).mean())
        fitted = np.linalg.lstsq(design * weights[:, None], values * weights, rcond=None)[0]
        deviations.append(np.sqrt(np.maximum(fitted, 0.0)))
    front, side = np.transpose(np.array(deviations, np.float64))
    return front, side


def _ridge(person: PointErrors) -> Array:
    trace = np.trace(person.information, axis1=1, axis2=2)
    return (_RIDGE / 3) * trace[:, None, None] * np.eye(3)


def _displacement(person: PointErrors) -> tuple[Array, Array]:
    """Where the points are seen less where they are (N, 3), and sigma (N,) of one view, metres."""
    matrix = person.information + _ridge(person)
    trace = np.trace(person.information, axis1=1, axis2=2)
    found = np.asarray(np.linalg.solve(matrix, person.vector[:, :, None]), np.float64)[:, :, 0]
    size: Array = np.sqrt(2 * person.views / trace)
    return found, size


def _field(places: Array, errors: Array) -> tuple[tuple[float, float, float], float]:
    """Variance by axis and length of errors (P, N, 3)."""
    distance = np.sqrt(((places[:, None] - places[None]) ** 2).sum(axis=2))
    upper = np.triu_indices(len(places), 1)
    which = np.digitize(distance[upper], np.linspace(0.0, _LONGEST, _BINS + 1)) - 1
    use = which < _BINS
    count: Array = np.bincount(which[use], minlength=_BINS).astype(np.float64)
    good = count > 0
    middle = np.bincount(which[use], distance[upper][use], _BINS)[good] / count[good]
    lengths, variances = [], []
    for axis in range(3):
        products = errors[:, :, axis].T @ errors[:, :, axis] / len(errors)
        total = np.bincount(which[use], products[upper][use], _BINS)[good] / count[good]
        variance = float(np.trace(products)) / len(places)
        length, share = fit_kernel(middle, total / variance, count[good])
        lengths.append(length)
        variances.append(variance * share)
    length = float(np.average(lengths, weights=np.maximum(variances, 1e-12)))
    return (variances[0], variances[1], variances[2]), length
