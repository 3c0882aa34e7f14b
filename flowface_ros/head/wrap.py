"""Wraps a head model onto another head's mesh: its own shape first, then free offsets.

Non-rigid ICP (Amberg et al., Optimal step nonrigid ICP algorithms for surface registration, 2007)
with point-to-plane distances. Matches have to agree in normal and in how much the jaw moves them,
which keeps the lips apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array, eye_array, kron
from scipy.sparse.linalg import splu

from flowface_ros.head.closest import ClosestPoints
from flowface_ros.head.evaluator import vertex_evaluator
from flowface_ros.head.model import JOINT_NAMES, HeadModel
from flowface_ros.head.normals import triangle_normals, vertex_normals
from flowface_ros.head.skinning import joint_bases
from flowface_ros.head.state import HeadState, Unknowns, neutral_state, retract, step_between
from flowface_ros.head.surface import SurfacePoints

_Array = NDArray[np.float64]

_JAW = JOINT_NAMES.index("jaw")
_EYES = [JOINT_NAMES.index("left_eye"), JOINT_NAMES.index("right_eye")]

_NORMAL_WORTH_M = 0.010
"""What a difference of 1 between unit normals is worth in a match."""
_JAW_WORTH_M = 0.010
"""What it is worth that one place moves with the jaw and the other does not."""
_REACH_M = (0.030, 0.030, 0.020, 0.020, 0.015, 0.015, 0.012, 0.010, 0.010, 0.008, 0.008, 0.008)
"""Distances beyond which a match is ignored, one per round of fitting the model's shape."""
_STIFFNESS = (1000.0, 300.0, 100.0, 30.0)
"""Weights of the offsets' smoothness, one per round of fitting offsets."""
_OFFSET_REACH_M = 0.008
_SLIDE = 0.05
"""Weight of a residual along the surface, against 1 across it."""
_DATA_SIGMA_M = 0.001
_INDEPENDENT_POINTS = 1000
"""How many independent answers all matches together count as, against the shape's prior."""
_ANCHOR_SIGMA_M = 0.001
_ANCHOR_WEIGHT = 2.0
"""Weight of an anchor's residual in the fit of offsets, against 1 of a match."""
_EXPRESSION_SIGMA = 0.1
"""A template is neutral: expression only mends what two people call neutral."""
_JAW_SIGMA_RAD = 0.02


@dataclass(frozen=True, eq=False)
class Mesh:
    """The outer skin of a head at rest, in the head's frame.

    vertices: (V, 3) metres. triangles: (F, 3) int32, the skin's alone. jaw: (V,) skinning weight
    of the jaw.
    """

    vertices: _Array
    triangles: NDArray[np.int32]
    jaw: _Array


@dataclass(frozen=True, eq=False)
class Wrapped:
    """A head model wrapped onto a mesh.

    vertices: (V, 3) metres. state: the model's own best state, before offsets were added.
    """

    vertices: _Array
    state: HeadState


@dataclass(frozen=True, eq=False)
class Anchors:
    """Points of the model whose places on the target are known: points, and places (N, 3) m."""

    points: SurfacePoints
    places: _Array


NO_ANCHORS = Anchors(SurfacePoints(np.zeros(0, np.int32), np.zeros((0, 3))), np.zeros((0, 3)))


def wrap(
    model: HeadModel,
    skin: NDArray[np.int32],
    target: Mesh,
    target_joints: _Array,
    anchors: Anchors = NO_ANCHORS,
) -> Wrapped:
    """The model deformed so that its skin lies on the target's.

    skin: vertices (n,) of the model that have a counterpart. target_joints: (J, 3) metres.
    """
    eyes = target_joints[_EYES].mean(axis=0) - joint_bases(model).neutral[_EYES].mean(axis=0)
    start = retract(neutral_state(model), Unknowns(), np.concatenate([eyes, np.zeros(3)]))
    lookup = _Lookup(target)
    state = _fit_shape(model, skin, lookup, anchors, start)
    vertices = vertex_evaluator(model).positions(state)
    return Wrapped(_fit_offsets(model, skin, lookup, anchors, vertices), state)


def match_features(normals: _Array, jaw: _Array) -> _Array:
    """Features (N, 4) in metres of places with unit normals (N, 3) and jaw weights (N,)."""
    return np.concatenate([normals * _NORMAL_WORTH_M, jaw[:, None] * _JAW_WORTH_M], axis=1)


def mesh_features(mesh: Mesh) -> _Array:
    """Features (F, 4) of a mesh's triangles."""
    normals = triangle_normals(mesh.vertices, mesh.triangles)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    return match_features(normals, mesh.jaw[mesh.triangles].mean(axis=1))


def boundary_vertices(triangles: NDArray[np.int32], count: int) -> NDArray[np.bool_]:
    """(V,) whether a vertex is on an edge that only one triangle has."""
    edges = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    )
    unique, uses = np.unique(edges, axis=0, return_counts=True)
    on_boundary = np.zeros(count, bool)
    on_boundary[unique[uses == 1].ravel()] = True
    return on_boundary


def beside_surface(
    points: SurfacePoints, triangles: NDArray[np.int32], boundary: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(N,) whether a closest point lies on the rim: what it was closest to is beside the mesh."""
    used = points.barycentric > 0
    return (used.sum(axis=1) < 3) & np.all(boundary[triangles[points.triangle]] | ~used, axis=1)


class _Lookup:
    """Matches on the target: places, unit normals, and whether each one counts."""

    def __init__(self, target: Mesh) -> None:
        self._target = target
        self._normals = vertex_normals(target.vertices, target.triangles)
        self._closest = ClosestPoints(target.vertices, target.triangles, mesh_features(target))
        self._boundary = boundary_vertices(target.triangles, len(target.vertices))

    def __call__(
        self, points: _Array, normals: _Array, jaw: _Array, reach: float
    ) -> tuple[_Array, _Array, _Array]:
        found, places = self._closest.query(points, match_features(normals, jaw))
        target_normals = found.interpolate(self._target.triangles, self._normals)
        target_normals /= np.maximum(np.linalg.norm(target_normals, axis=1, keepdims=True), 1e-12)
        distance = np.linalg.norm(places - points, axis=1)
        agrees = np.einsum("ni,ni->n", normals, target_normals) > 0.5
        beside = beside_surface(found, self._target.triangles, self._boundary)
        weight = np.where(agrees & ~beside, np.maximum(0, 1 - (distance / reach) ** 2) ** 2, 0)
        return places, target_normals, weight


def _fit_shape(
    model: HeadModel,
    skin: NDArray[np.int32],
    lookup: _Lookup,
    anchors: Anchors,
    start: HeadState,
) -> HeadState:
    """Pose, jaw, expression and shape by Gauss-Newton with fresh matches in every round."""
    unknowns = Unknowns(
        jaw=True,
        expression=np.arange(model.expression_count),
        shape=np.arange(model.shape_count),
    )
    precision = np.zeros(unknowns.size)
    precision[unknowns.slices["jaw"]] = _JAW_SIGMA_RAD**-2
    precision[unknowns.slices["shape"]] = 1
    if model.expression_count:
        precision[unknowns.slices["expression"]] = _EXPRESSION_SIGMA**-2
    jaw = model.skinning_weights[:, _JAW].astype(np.float64)[skin]
    evaluator, state = vertex_evaluator(model), start
    for reach in _REACH_M:
        vertices, jacobian = evaluator.positions_and_jacobian(state, unknowns)
        normals = vertex_normals(vertices, model.triangles)[skin]
        places, target_normals, weight = lookup(vertices[skin], normals, jaw, reach)
        weight *= _INDEPENDENT_POINTS / max(1.0, weight.sum()) / _DATA_SIGMA_M**2
        residual = places - vertices[skin]
        metric = _metric(target_normals) * weight[:, None, None]
        columns = jacobian[skin]
        weighted = np.einsum("nij,njk->nik", metric, columns).reshape(-1, unknowns.size)
        hessian = weighted.T @ columns.reshape(-1, unknowns.size) + np.diag(precision)
        gradient = weighted.T @ residual.ravel()
        known = anchors.points.interpolate(model.triangles, jacobian).reshape(-1, unknowns.size)
        missing = anchors.places - anchors.points.interpolate(model.triangles, vertices)
        hessian += known.T @ known / _ANCHOR_SIGMA_M**2
        gradient += known.T @ missing.ravel() / _ANCHOR_SIGMA_M**2
        gradient -= precision * step_between(start, state, unknowns)
        state = retract(state, unknowns, np.linalg.solve(hessian, gradient))
    return state


def _fit_offsets(
    model: HeadModel,
    skin: NDArray[np.int32],
    lookup: _Lookup,
    anchors: Anchors,
    vertices: _Array,
) -> _Array:
    """Offsets of all vertices, as smooth as the stiffness of the round asks for."""
    jaw = model.skinning_weights[:, _JAW].astype(np.float64)[skin]
    laplacian = _laplacian(model.triangles, model.vertex_count)
    smooth = kron(laplacian.T @ laplacian, eye_array(3)).tocsc()
    start = vertices
    known = kron(_interpolation(model, anchors.points), eye_array(3)).tocsr() * _ANCHOR_WEIGHT
    missing = anchors.places - anchors.points.interpolate(model.triangles, start)
    tiny = diags_array(np.full(3 * model.vertex_count, 1e-6))
    constant = (known.T @ known + tiny).tocsc()
    constant_pull = _ANCHOR_WEIGHT * (known.T @ missing.ravel())
    for stiffness in _STIFFNESS:
        normals = vertex_normals(vertices, model.triangles)[skin]
        places, target_normals, weight = lookup(vertices[skin], normals, jaw, _OFFSET_REACH_M)
        blocks = np.zeros((model.vertex_count, 3, 3))
        blocks[skin] = _metric(target_normals) * weight[:, None, None]
        pull = np.zeros_like(vertices)
        pull[skin] = np.einsum("nij,nj->ni", blocks[skin], places - start[skin])
        system = (_block_diagonal(blocks) + stiffness * smooth + constant).tocsc()
        vertices = start + splu(system).solve(pull.ravel() + constant_pull).reshape(-1, 3)
    return vertices


def _metric(normals: _Array) -> _Array:
    """(N, 3, 3) weights of a residual: 1 across the surface, `_SLIDE` along it."""
    return (1 - _SLIDE) * normals[:, :, None] * normals[:, None, :] + _SLIDE * np.eye(3)


def _block_diagonal(blocks: _Array) -> csr_array:
    index = np.arange(3 * len(blocks)).reshape(-1, 3)
    rows = np.repeat(index, 3, axis=1).ravel()
    columns = np.tile(index, (1, 3)).ravel()
    return coo_array((blocks.ravel(), (rows, columns)), shape=(index.size, index.size)).tocsr()


def _interpolation(model: HeadModel, points: SurfacePoints) -> csr_array:
    """Matrix (N, V) from values at the vertices to values at the points."""
    rows = np.repeat(np.arange(len(points)), 3)
    entries = (points.barycentric.ravel(), (rows, model.triangles[points.triangle].ravel()))
    return coo_array(entries, shape=(len(points), model.vertex_count)).tocsr()


def _laplacian(triangles: NDArray[np.int32], count: int) -> csr_array:
    """Uniform graph Laplacian (V, V): the mean of the neighbours subtracted from the value."""
    a, b = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).T
    ones = np.ones(2 * len(a))
    links = coo_array((ones, (np.r_[a, b], np.r_[b, a])), shape=(count, count)).tocsr()
    links.data[:] = 1
    degree = np.maximum(1, links.sum(axis=1))
    return (eye_array(count) - diags_array(1 / degree) @ links).tocsr()
