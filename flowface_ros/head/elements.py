"""How surface points are split into parts that each follow one fixed blend of joints.

A point is sum_k b_k x_k over its triangle's corners. Where the corners share their skinning
weights, the bases of the corners can be summed first and skinned once. Elsewhere the sum is
regrouped by corner or by joint, whichever needs fewer parts; both are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints


@dataclass(frozen=True, eq=False)
class Elements:
    """M parts of N surface points; each one is a weighted sum of up to three vertices.

    point: (M,) int32, the point that it belongs to, ascending.
    vertices, shares: (M, K) int32 and float64, the weighted sum; K is 1 or 3.
    mass: (M,) sum of the shares.
    weights: (M, J) blend of joints, sums to 1.
    template: (M, 3), shape_basis: (M, 3, S), expression_basis: (M, 3, E), pose_correctives:
        (M, 3, 9 (J - 1)) or None: the model's, summed with the shares.
    corrective_active: (M, J - 1) bool, whether a joint's correctives are not all zero.
    """

    point: NDArray[np.int32]
    vertices: NDArray[np.int32]
    shares: NDArray[np.float64]
    mass: NDArray[np.float64]
    weights: NDArray[np.float64]
    template: NDArray[np.float64]
    shape_basis: NDArray[np.float32] | NDArray[np.float64]
    expression_basis: NDArray[np.float32] | NDArray[np.float64]
    pose_correctives: NDArray[np.float32] | NDArray[np.float64] | None
    corrective_active: NDArray[np.bool_]

    def gather(self, vertex_values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Values (M, ...) of values (V, ...) at the vertices."""
        return _gather(vertex_values, self.vertices, self.shares)


def joint_weights(model: HeadModel) -> NDArray[np.float64]:
    """Skinning weights (V, J) whose rows sum to 1 in float64 too, so that skinning is rigid."""
    weights = model.skinning_weights.astype(np.float64)
    return weights / weights.sum(axis=1, keepdims=True)


def vertex_elements(model: HeadModel) -> Elements:
    """One element for each vertex; the bases are the model's own arrays."""
    count = model.vertex_count
    index = np.arange(count, dtype=np.int32)
    ones = np.ones(count)
    return Elements(
        point=index,
        vertices=index[:, None],
        shares=ones[:, None],
        mass=ones,
        weights=joint_weights(model),
        template=model.template.astype(np.float64),
        shape_basis=model.shape_basis,
        expression_basis=model.expression_basis,
        pose_correctives=model.pose_correctives,
        corrective_active=_active(model.pose_correctives, count, model.joint_count),
    )


def point_elements(model: HeadModel, points: SurfacePoints) -> Elements:
    """Elements of surface points; ValueError when a point is not on the model's mesh."""
    if len(points) and not 0 <= points.triangle.min() <= points.triangle.max() < len(
        model.triangles
    ):
        raise ValueError(f"points.triangle must be in 0..{len(model.triangles) - 1}")
    corners = model.triangles[points.triangle]
    shares = np.asarray(points.barycentric, np.float64)
    blends = joint_weights(model)[corners]
    alike = np.all(blends == blends[:, :1], axis=(1, 2))
    active = np.any((blends != 0) & (shares != 0)[..., None], axis=1)
    by_joint = ~alike & (active.sum(axis=1) < (shares != 0).sum(axis=1))
    by_corner = ~alike & ~by_joint

    parts = [_together(alike, corners, shares, blends)]
    parts += [_corner(by_corner, k, corners, shares, blends) for k in range(3)]
    parts += [_joint(by_joint, j, corners, shares, blends) for j in range(model.joint_count)]
    point, vertices, share, weights = (np.concatenate(p) for p in zip(*parts, strict=True))
    order = np.argsort(point, kind="stable")
    return _build(model, point[order], vertices[order], share[order], weights[order])


def single(elements: Elements) -> Elements:
    """The same with bases in float32."""
    correctives = elements.pose_correctives
    return replace(
        elements,
        shape_basis=elements.shape_basis.astype(np.float32),
        expression_basis=elements.expression_basis.astype(np.float32),
        pose_correctives=None if correctives is None else correctives.astype(np.float32),
    )


_Part = tuple[
    NDArray[np.int64], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]
]  # point, vertices, shares, weights


def _together(chosen: NDArray, corners: NDArray, shares: NDArray, blends: NDArray) -> _Part:
    point = np.flatnonzero(chosen)
    return point, corners[point], shares[point], blends[point, 0]


def _corner(chosen: NDArray, k: int, corners: NDArray, shares: NDArray, blends: NDArray) -> _Part:
    point = np.flatnonzero(chosen & (shares[:, k] != 0))
    share = np.zeros((len(point), 3))
    share[:, k] = shares[point, k]
    return point, corners[point], share, blends[point, k]


def _joint(chosen: NDArray, j: int, corners: NDArray, shares: NDArray, blends: NDArray) -> _Part:
    share = shares * blends[:, :, j]
    point = np.flatnonzero(chosen & np.any(share != 0, axis=1))
    weights = np.zeros((len(point), blends.shape[2]))
    weights[:, j] = 1
    return point, corners[point], share[point], weights


def _build(
    model: HeadModel, point: NDArray, vertices: NDArray, shares: NDArray, weights: NDArray
) -> Elements:
    def gather(values: NDArray) -> NDArray[np.float64]:
        return _gather(values, vertices, shares)

    correctives = None if model.pose_correctives is None else gather(model.pose_correctives)
    return Elements(
        point=point.astype(np.int32),
        vertices=vertices,
        shares=shares,
        mass=shares.sum(axis=1),
        weights=weights,
        template=gather(model.template),
        shape_basis=gather(model.shape_basis),
        expression_basis=gather(model.expression_basis),
        pose_correctives=correctives,
        corrective_active=_active(correctives, len(point), model.joint_count),
    )


def _gather(values: NDArray, vertices: NDArray, shares: NDArray) -> NDArray[np.float64]:
    total = np.zeros((len(vertices), *values.shape[1:]))
    for k in range(vertices.shape[1]):
        share = shares[:, k].reshape(-1, *(1,) * (values.ndim - 1))
        total += share * values[vertices[:, k]]
    return total


def _active(correctives: NDArray | None, count: int, joints: int) -> NDArray[np.bool_]:
    if correctives is None:
        return np.zeros((count, joints - 1), bool)
    return np.any(correctives.reshape(count, 3, joints - 1, 9) != 0, axis=(1, 3))
