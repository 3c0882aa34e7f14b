"""Named surface points: sellion, the 68 points of the iBUG scheme, iris centres."""

from __future__ import annotations

import numpy as np
from head_build.eyes import make_lids
from head_build.mouth import make_lips
from head_build.topology import (
    EYE_LEFT,
    EYE_RIGHT,
    MOUTH,
    SKIN,
    Index,
    Topology,
)
from numpy.typing import NDArray

from flowface_ros.head.surface import SurfacePoints

Array = NDArray[np.float64]

JAW_XYZ = np.array(
    [
        [0.0745, 0.0130, -0.0360],
        [0.0735, -0.0060, -0.0330],
        [0.0715, -0.0270, -0.0290],
        [0.0675, -0.0470, -0.0230],
        [0.0600, -0.0640, -0.0130],
        [0.0490, -0.0770, 0.0020],
        [0.0345, -0.0865, 0.0190],
        [0.0180, -0.0920, 0.0340],
        [0.0, -0.0935, 0.0400],
    ]
)
"""Near the jaw's contour, subject's left side, from the ear to the chin (m)."""
BROW_XY = np.array(
    [[0.0500, 0.0390], [0.0430, 0.0445], [0.0340, 0.0455], [0.0245, 0.0430], [0.0150, 0.0390]]
)
"""The left brow from outside to inside, seen from the front."""
LID_EDGE_RING = 2
"""The ring of the lids' skin that is seen as their edge."""
NOSE_X = np.array([0.0150, 0.0080])
"""The wing's base and the nostril's sill, left of the middle (m)."""


def closest_points(vertices: Array, triangles: Index, rows: Index, points: Array) -> SurfacePoints:
    """The surface points of the triangles `rows` nearest to points (n, 3)."""
    a, b, c = (vertices[triangles[rows, k]] for k in range(3))
    found, weights = [], []
    for point in points:
        barycentric = _closest_barycentric(a, b, c, point)
        position = (barycentric[:, :, None] * np.stack([a, b, c], axis=1)).sum(axis=1)
        best = int(((position - point) ** 2).sum(axis=1).argmin())
        found.append(rows[best])
        weights.append(barycentric[best])
    return SurfacePoints(np.array(found, np.int32), np.array(weights))


def _closest_barycentric(a: Array, b: Array, c: Array, point: Array) -> Array:
    """(n, 3) barycentric coordinates of the nearest point on each triangle (a, b, c)."""
    edges = ((a, b, 0, 1), (b, c, 1, 2), (c, a, 2, 0))
    best = np.full(len(a), np.inf)
    result = np.zeros((len(a), 3))
    ab, ac, ap = b - a, c - a, point - a
    d00, d01, d11 = (ab * ab).sum(1), (ab * ac).sum(1), (ac * ac).sum(1)
    d20, d21 = (ap * ab).sum(1), (ap * ac).sum(1)
    area = np.maximum(d00 * d11 - d01**2, 1e-30)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    inside = (v >= 0) & (w >= 0) & (v + w <= 1)
    plane = ((a + ab * v[:, None] + ac * w[:, None] - point) ** 2).sum(axis=1)
    best[inside] = plane[inside]
    result[inside] = np.stack([1 - v - w, v, w], axis=1)[inside]
    for start, end, i, j in edges:
        along = end - start
        t = np.clip(((point - start) * along).sum(1) / np.maximum((along**2).sum(1), 1e-30), 0, 1)
        distance = ((start + along * t[:, None] - point) ** 2).sum(axis=1)
        better = distance < best
        best[better] = distance[better]
        result[better] = 0
        result[better, i] = 1 - t[better]
        result[better, j] = t[better]
    return result


def front_points(vertices: Array, triangles: Index, rows: Index, xy: Array) -> Array:
    """(n, 3) what a ray from the front at (x, y) meets first."""
    corners = vertices[triangles[rows]]
    a, u, v = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    safe = np.where(np.abs(area) < 1e-15, 1e-15, area)
    hits = []
    for place in xy:
        p = place - a[:, :2]
        s = (p[:, 0] * v[:, 1] - p[:, 1] * v[:, 0]) / safe
        t = (u[:, 0] * p[:, 1] - u[:, 1] * p[:, 0]) / safe
        inside = (s >= 0) & (t >= 0) & (s + t <= 1)
        depth = np.where(inside, a[:, 2] + s * u[:, 2] + t * v[:, 2], -np.inf)
        hits.append([*place, depth.max()])
    return np.array(hits)


def make_landmarks(topology: Topology, vertices: Array) -> dict[str, SurfacePoints]:
    """All named points of the symmetric template `vertices` (V, 3)."""
    rows = np.flatnonzero(topology.part == SKIN)
    points = _ibug68(topology, vertices, rows)
    sellion = _profile(topology, vertices, 0.004, 0.035, deepest=True)
    named = {
        "sellion": closest_points(vertices, topology.triangles, rows, sellion[None]),
        "ibug68": closest_points(vertices, topology.triangles, rows, points),
    }
    for name, part in (("left_iris", EYE_LEFT), ("right_iris", EYE_RIGHT)):
        ball = np.flatnonzero(topology.part == part)
        pole = topology.part_vertices(part)
        front = vertices[pole[vertices[pole, 2].argmax()]]
        named[name] = closest_points(vertices, topology.triangles, ball, front[None])
    return named


def _profile(topology: Topology, vertices: Array, low: float, high: float, deepest: bool) -> Array:
    """The midline skin vertex with the least (deepest) or greatest z for y in (low, high)."""
    skin = topology.part_vertices(SKIN)
    middle = skin[(topology.mirror[skin] == skin) & (vertices[skin, 2] > 0)]
    y = vertices[middle, 1]
    middle = middle[(y > low) & (y < high)]
    z = vertices[middle, 2]
    return vertices[middle[z.argmin() if deepest else z.argmax()]]


def _subnasale(topology: Topology, vertices: Array, tip: Array) -> Array:
    """The midline point under the nose where its base turns into the upper lip."""
    rows = np.flatnonzero(topology.part == SKIN)
    y = np.linspace(tip[1] - 0.004, tip[1] - 0.022, 60)
    line = front_points(vertices, topology.triangles, rows, np.stack([0 * y, y], axis=1))
    chord = line[-1] - line[0]
    off = (line - line[0]) @ np.array([0, chord[2], -chord[1]]) / np.linalg.norm(chord)
    return np.asarray(line[np.abs(off).argmax()])


def _ibug68(topology: Topology, vertices: Array, rows: Index) -> Array:
    flip = np.array([-1, 1, 1])
    triangles = topology.triangles
    points = np.zeros((68, 3))
    jaw = JAW_XYZ
    points[:9], points[8:17] = jaw * flip, jaw[::-1]
    brow = front_points(vertices, triangles, rows, BROW_XY)
    points[17:22], points[22:27] = brow * flip, brow[::-1]
    sellion = _profile(topology, vertices, 0.004, 0.035, deepest=True)
    tip = _profile(topology, vertices, -0.03, 0.0, deepest=False)
    ridge = np.stack([[0.0, y] for y in np.linspace(sellion[1], tip[1], 4)])
    points[27:31] = front_points(vertices, triangles, rows, ridge)
    base = _subnasale(topology, vertices, tip)
    sill = front_points(
        vertices, triangles, rows, np.stack([NOSE_X, base[1] + np.array([0.0030, 0.0004])], axis=1)
    )
    points[31:33], points[33], points[34:36] = sill * flip, base, sill[::-1]
    eye = _eye_points(topology, vertices)
    points[42:48] = eye
    points[36:42] = (eye * flip)[[3, 2, 1, 0, 5, 4]]
    points[48:68] = _mouth_points(topology, vertices)
    return points


def _eye_points(topology: Topology, vertices: Array) -> Array:
    """The left eye's six points: inner corner, two of the upper lid, outer corner, two lower."""
    lids = make_lids(topology, vertices)[0]
    loop = vertices[lids.ring == LID_EDGE_RING]
    inner, outer = loop[loop[:, 0].argmin()], loop[loop[:, 0].argmax()]
    line = inner[1] + (loop[:, 0] - inner[0]) / (outer[0] - inner[0]) * (outer[1] - inner[1])
    upper, lower = loop[loop[:, 1] > line], loop[loop[:, 1] < line]

    def at(side: Array, share: float) -> Array:
        x = inner[0] + share * (outer[0] - inner[0])
        order = side[side[:, 0].argsort()]
        return np.array([np.interp(x, order[:, 0], order[:, k]) for k in range(3)])

    return np.stack(
        [inner, at(upper, 0.33), at(upper, 0.67), outer, at(lower, 0.67), at(lower, 0.33)]
    )


def _mouth_points(topology: Topology, vertices: Array) -> Array:
    rim = np.intersect1d(topology.part_vertices(SKIN), topology.part_vertices(MOUTH))
    loop = vertices[rim]
    corner = loop[loop[:, 0].argmax()]
    outer_x = corner[0] * np.array([0.70, 0.30, 0.0])
    rows = np.flatnonzero(topology.part == SKIN)
    lip = float(loop[np.abs(loop[:, 0]).argmin(), 1])
    upper_y, lower_y = (
        lip + np.array([0.0045, 0.0085, 0.0075]),
        lip - np.array([0.0065, 0.0100, 0.0110]),
    )
    upper = front_points(vertices, topology.triangles, rows, np.stack([outer_x, upper_y], axis=1))
    lower = front_points(vertices, topology.triangles, rows, np.stack([outer_x, lower_y], axis=1))
    lips = make_lips(topology, vertices)
    middle = lips.along(vertices, -1, corner[0] * np.array([0.85, 0.4, 0.0]))
    flip = np.array([-1, 1, 1])
    points = np.zeros((20, 3))
    points[0], points[6] = corner * flip, corner
    points[1:4] = upper * flip
    points[4:6] = upper[1::-1]
    points[7:9] = lower[:2]
    points[9] = lower[2]
    points[10:12] = (lower * flip)[1::-1]
    gap = np.array([0, 0.0004, 0])
    inner_up, inner_down = middle + gap, middle - gap
    points[12], points[16] = middle[0] * flip, middle[0]
    points[13], points[14], points[15] = inner_up[1] * flip, inner_up[2], inner_up[1]
    points[17], points[18], points[19] = inner_down[1], inner_down[2], inner_down[1] * flip
    return points
