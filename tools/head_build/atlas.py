"""The UV atlas: the skin as one island inside a superellipse, small islands in its corners.

Every disc-like island is a convex-combination map (Tutte, Floater): with positive weights and a
convex boundary no triangle can flip. The weights are changed until texel density is what we want.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from head_build.topology import Index
from numpy.typing import NDArray
from scipy.sparse.linalg import spsolve

Array = NDArray[np.float64]

DENSITY_RATE = 0.35
WEIGHT_RANGE = 1e4
RELAX_STEPS = 60
HOLE_SHARE = 0.004
"""Weight of the triangles that fill the holes at eyes and mouth, lest lids or lips overlap."""
LEAST_HEIGHT = 3e-4
"""Flatter triangles (m), as between closed lips, are taken for this high."""


@dataclass(frozen=True)
class Island:
    """triangles (F, 3) into `vertex`; vertex (n,) mesh vertex of each UV; loop (b,) outer rim."""

    triangles: Index
    vertex: Index
    loop: Index


def boundary_loops(triangles: Index) -> list[Index]:
    """Closed vertex loops of edges that belong to one triangle, in the triangles' direction."""
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    known = {(a, b) for a, b in edges.tolist()}
    after = {a: b for a, b in edges.tolist() if (b, a) not in known}
    loops = []
    while after:
        start, loop = min(after), []
        vertex = start
        while vertex in after:
            loop.append(vertex)
            vertex = after.pop(vertex)
        loops.append(np.array(loop))
    return loops


def mean_value_weights(vertices: Array, triangles: Index) -> sp.csr_matrix:
    """(n, n) Floater's mean value weights tan(angle / 2) / length, all positive."""
    rows, columns, values = [], [], []
    for k in range(3):
        i, j, m = (triangles[:, (k + s) % 3] for s in range(3))
        a, b = vertices[j] - vertices[i], vertices[m] - vertices[i]
        la, lb = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
        cosine = (a * b).sum(axis=1) / np.maximum(la * lb, 1e-15)
        half = np.sqrt(np.maximum(1 - cosine, 1e-4) / np.maximum(1 + cosine, 1e-4))
        rows += [i, i]
        columns += [j, m]
        values += [half / np.maximum(la, 1e-5), half / np.maximum(lb, 1e-5)]
    size = len(vertices)
    return sp.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (size, size)
    )


def triangle_areas(points: Array, triangles: Index) -> Array:
    """(F,) areas of triangles of (n, 2 or 3) points."""
    a = points[triangles[:, 1]] - points[triangles[:, 0]]
    b = points[triangles[:, 2]] - points[triangles[:, 0]]
    if points.shape[1] == 2:
        return np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    return np.linalg.norm(np.cross(a, b), axis=1) / 2


def embed(
    vertices: Array,
    triangles: Index,
    loop: Index,
    rim: Array,
    density: Array,
    steps: int,
    relax: bool = False,
) -> Array:
    """(n, 2) map of a disc with holes onto the convex `rim` (b, 2), its outer loop's places.

    density (F,): wanted texels per surface area, relative. steps: of density adaptation. relax:
    whether shape is improved, too, in the end.
    """
    holes = [h for h in boundary_loops(triangles) if set(h.tolist()) != set(loop.tolist())]
    size = len(vertices)
    faces = np.concatenate([triangles, *(slit_triangles(vertices, hole) for hole in holes)])
    weights = mean_value_weights(vertices, faces).tocoo()
    row, column = weights.row.astype(np.int64), weights.col.astype(np.int64)
    weight = weights.data.copy()
    weight /= np.bincount(row, weight, size)[row]
    wanted = triangle_areas(vertices, triangles) * density
    total = wanted.sum()
    wanted /= total
    inner = np.setdiff1d(np.arange(size), loop)
    uv = _solve(size, row, column, weight, inner, loop, rim)
    for _ in range(steps):
        weight = weight * _pull(uv, triangles, wanted)[column]
        weight /= np.bincount(row, weight, size)[row]
        weight = np.maximum(weight, 1 / WEIGHT_RANGE)
        uv = _solve(size, row, column, weight, inner, loop, rim)
    if not relax:
        return uv
    reference = flattened(vertices, faces)
    reference[: len(triangles)] *= np.sqrt(density)[:, None, None]
    reference *= np.sqrt(triangle_areas(uv, triangles).sum() / total)
    fill = len(faces) - len(triangles)
    share = np.append(wanted, np.full(fill, HOLE_SHARE / max(fill, 1)))
    return relaxed(uv, faces, reference, share, loop)


def _pull(uv: Array, triangles: Index, wanted: Array) -> Array:
    """(n,) factors of each vertex's weights: above 1 where the triangles around it have more than
    their wanted (F,) share of the area."""
    got = triangle_areas(uv, triangles)
    got /= got.sum()
    have, want = (
        sum(np.bincount(triangles[:, k], a, len(uv)) for k in range(3)) for a in (got, wanted)
    )
    ratio = np.where(want > 0, (have + 1e-12) / (want + 1e-12), 1.0)
    return np.asarray(np.clip(ratio, 0.2, 5.0) ** DENSITY_RATE)


def slit_triangles(vertices: Array, hole: Index) -> Index:
    """Triangles across a slit-like hole, between the two chains from its left to its right end."""
    start, stop = (int(k) for k in (vertices[hole, 0].argmin(), vertices[hole, 0].argmax()))
    turned = np.roll(hole, -start)
    split = (stop - start) % len(hole)
    one, other = turned[: split + 1], np.append(turned[split:], turned[0])[::-1]
    i = j = 0
    faces = []
    while i < len(one) - 1 or j < len(other) - 1:
        ahead = i < len(one) - 1 and (
            j == len(other) - 1 or vertices[one[i + 1], 0] <= vertices[other[j + 1], 0]
        )
        if ahead:
            faces.append([one[i + 1], one[i], other[j]])
            i += 1
        else:
            faces.append([one[i], other[j], other[j + 1]])
            j += 1
    return np.array([face for face in faces if len(set(face)) == 3])


def flattened(vertices: Array, triangles: Index) -> Array:
    """(F, 2, 2) edge vectors from each triangle's first corner, in its own plane."""
    a = vertices[triangles[:, 1]] - vertices[triangles[:, 0]]
    b = vertices[triangles[:, 2]] - vertices[triangles[:, 0]]
    length = np.maximum(np.linalg.norm(a, axis=1), 1e-9)
    along = (a * b).sum(axis=1) / length
    height = np.maximum(np.linalg.norm(np.cross(a, b), axis=1) / length, LEAST_HEIGHT)
    zero = np.zeros_like(length)
    return np.stack([np.stack([length, zero], 1), np.stack([along, height], 1)], axis=1)


def relaxed(uv: Array, triangles: Index, reference: Array, share: Array, fixed: Index) -> Array:
    """The map (n, 2) with the least symmetric Dirichlet energy against reference edges (F, 2, 2).

    Scalable locally injective mappings (Rabinovich et al. 2017): reweighted least squares with a
    line search that keeps every triangle's orientation. `fixed` vertices stay.
    """
    first = np.diff(uv[triangles], axis=1)
    mirrored = (
        np.sign(first[:, 0, 0] * (first[:, 1, 1]) - first[:, 0, 1] * first[:, 1, 0]).sum() < 0
    )
    work = uv * [1, -1] if mirrored else uv.copy()
    gradient = gradient_operator(triangles, reference, len(uv))
    free = np.setdiff1d(np.arange(len(uv)), fixed)
    energy = _energy(gradient, work, share)
    for _ in range(RELAX_STEPS):
        target = _global_step(gradient, work, share, free, fixed)
        step, move = 1.0, target - work
        while step > 1e-6:
            trial = work + step * move
            lower = _energy(gradient, trial, share)
            if lower < energy:
                break
            step *= 0.6
        else:
            break
        gain, work, energy = energy - lower, trial, lower
        if gain < 1e-7 * energy:
            break
    return work * [1, -1] if mirrored else work


def gradient_operator(triangles: Index, reference: Array, count: int) -> tuple[sp.csr_matrix, ...]:
    """(F, n) operators d/dx and d/dy of a piecewise linear function over the reference."""
    inverse = np.linalg.inv(reference)
    operators = []
    for axis in range(2):
        b, c = inverse[:, axis, 0], inverse[:, axis, 1]
        values = np.stack([-b - c, b, c], axis=1)
        rows = np.repeat(np.arange(len(triangles)), 3)
        operators.append(
            sp.csr_matrix((values.ravel(), (rows, triangles.ravel())), (len(triangles), count))
        )
    return tuple(operators)


def _jacobians(gradient: tuple[sp.csr_matrix, ...], uv: Array) -> Array:
    """(F, 2, 2) d(uv)/d(reference)."""
    return np.stack([operator @ uv for operator in gradient], axis=2)


def _energy(gradient: tuple[sp.csr_matrix, ...], uv: Array, share: Array) -> float:
    jacobian = _jacobians(gradient, uv)
    determinant = np.linalg.det(jacobian)
    if determinant.min() <= 0:
        return np.inf
    norm = (jacobian**2).sum(axis=(1, 2))
    return float((share * norm * (1 + 1 / determinant**2)).sum())


def _global_step(
    gradient: tuple[sp.csr_matrix, ...], uv: Array, share: Array, free: Index, fixed: Index
) -> Array:
    """Minimiser of sum share |W (J - R)|^2 with the weights W of the symmetric Dirichlet energy."""
    u, s, vt = np.linalg.svd(_jacobians(gradient, uv))
    rotation = u @ vt
    near_one = np.abs(s - 1) < 1e-6
    safe = np.where(near_one, 2.0, s)
    weight = np.where(near_one, 2.0, np.sqrt((safe - safe**-3) / (safe - 1)))
    square = np.einsum("fij,fj,fkj->fik", u, weight**2, u) * share[:, None, None]
    wanted = np.einsum("fij,fjk->fik", square, rotation)
    blocks = [
        [sum(g.T @ sp.diags(square[:, i, k]) @ g for g in gradient) for k in range(2)]
        for i in range(2)
    ]
    system = sp.bmat(blocks).tocsr()
    right = np.concatenate(
        [sum(g.T @ wanted[:, i, axis] for axis, g in enumerate(gradient)) for i in range(2)]
    )
    count = len(uv)
    unknown = np.concatenate([free, free + count])
    known = np.concatenate([fixed, fixed + count])
    flat = uv.T.ravel().copy()
    reduced = right[unknown] - system[unknown][:, known] @ flat[known]
    flat[unknown] = spsolve(system[unknown][:, unknown].tocsc(), reduced)
    return flat.reshape(2, count).T


def _solve(
    size: int, row: Index, column: Index, weight: Array, inner: Index, loop: Index, rim: Array
) -> Array:
    matrix = sp.csr_matrix((weight, (row, column)), (size, size))
    matrix = sp.csr_matrix(sp.diags(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix)
    uv = np.zeros((size, 2))
    uv[loop] = rim
    system = (sp.identity(len(inner)) - matrix[inner][:, inner]).tocsc()
    uv[inner] = np.asarray(spsolve(system, matrix[inner][:, loop] @ rim))
    return uv
