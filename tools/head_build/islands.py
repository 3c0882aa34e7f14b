"""Where each island of the atlas lies, and the texel density of the skin."""

from __future__ import annotations

import numpy as np
from head_build import teeth
from head_build.atlas import Island, boundary_loops, embed
from head_build.frame import smoothstep
from head_build.topology import (
    EYE_LEFT,
    EYE_RIGHT,
    EYE_RING_DEG,
    EYE_SEGMENTS,
    IRIS_RING,
    MOUTH,
    SKIN,
    SOCKET_LEFT,
    SOCKET_RIGHT,
    TEETH_LOWER,
    TEETH_UPPER,
    TONGUE,
    Index,
    Topology,
    eyeball_triangles,
)
from numpy.typing import NDArray

Array = NDArray[np.float64]

SKIN_CENTRE, SKIN_HALF = np.array([0.5, 0.5]), 0.497
DENSITY_STEPS = 25
SKIN_EXPONENT = 2.6
"""The skin's outline |x|^p + |y|^p = 1: strictly convex, with room in the corners."""
EYE_CENTRE_LEFT, EYE_UV_RADIUS = np.array([0.9320, 0.0680]), 0.064
IRIS_UV_SHARE = 0.5
"""The ring EYE_RING_DEG[IRIS_RING] lies at this share of the eyeball's UV radius."""
DISCS = {
    MOUTH: (np.array([0.061, 0.939]), 0.055),
    SOCKET_LEFT: (np.array([0.982, 0.168]), 0.016),
    SOCKET_RIGHT: (np.array([0.018, 0.168]), 0.016),
}
TEETH_SIZE = np.array([0.122, 0.028])
TEETH = {TEETH_UPPER: np.array([0.872, 0.932]), TEETH_LOWER: np.array([0.872, 0.966])}
TONGUE_DISC = (np.array([0.963, 0.886]), 0.033)


def skin_island(topology: Topology, vertices: Array) -> Island:
    """The outer skin, cut down the back of the head from the crown to the hem."""
    triangles = topology.triangles[topology.part == SKIN]
    seam = back_midline(topology, vertices, triangles)
    used, local = np.unique(triangles, return_inverse=True)
    local = local.reshape(-1, 3)
    number = {int(v): k for k, v in enumerate(used)}
    right = vertices[triangles][..., 0].mean(axis=1) < 0
    vertex = used.tolist()
    for v in seam[1:]:
        copy = len(vertex)
        vertex.append(int(v))
        local[right] = np.where(local[right] == number[int(v)], copy, local[right])
    loops = boundary_loops(local)
    crown = number[int(seam[0])]
    loop = next(loop for loop in loops if crown in loop)
    loop = np.roll(loop, -int(np.flatnonzero(loop == crown)[0]))
    return Island(local, np.array(vertex), loop)


def back_midline(topology: Topology, vertices: Array, triangles: Index) -> Index:
    """Vertices on the symmetry plane from the crown down the back to the hem."""
    middle = (topology.mirror == np.arange(len(vertices))) & (np.abs(vertices[:, 0]) < 1e-9)
    edges = np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    edges = edges[middle[edges].all(axis=1)]
    neighbours: dict[int, list[int]] = {}
    for a, b in edges.tolist():
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    hem = [int(v) for v in topology.hem if middle[v]]
    path = [min(hem, key=lambda v: vertices[v, 2])]
    while True:
        onward = [v for v in neighbours[path[-1]] if v not in path and v not in hem]
        step = max(onward, key=lambda v: vertices[v, 1] - vertices[path[-1], 1])
        if vertices[step, 1] < vertices[path[-1], 1] and vertices[step, 2] > 0:
            return np.array(path[::-1])
        path.append(step)


def skin_rim(lengths: Array) -> Array:
    """(b, 2) places of the skin's outer loop, which starts at the crown (top middle).

    The loop runs down one side, along the hem and up the other; arc lengths are kept within each.
    """
    total = np.concatenate([[0], np.cumsum(lengths)])
    angle = 2 * np.pi * total[:-1] / total[-1]
    x, y = np.sin(angle), -np.cos(angle)
    norm = (np.abs(x) ** SKIN_EXPONENT + np.abs(y) ** SKIN_EXPONENT) ** (1 / SKIN_EXPONENT)
    return SKIN_CENTRE + SKIN_HALF * np.stack([x, y], axis=1) / norm[:, None]


def skin_density(topology: Topology, vertices: Array, triangles: Index) -> Array:
    """(F,) wanted texels per area: most in the face, more at eyes and lips, little at the back."""
    centre = vertices[triangles].mean(axis=1)
    x, y, z = np.abs(centre[:, 0]), centre[:, 1], centre[:, 2]
    face = smoothstep(z, -0.035, 0.0) * smoothstep(y, -0.115, -0.085)
    face *= 1 - smoothstep(y, 0.085, 0.115)
    density = 0.09 + 1.1 * face

    def bump(points: Array, radius: float, gain: float) -> Array:
        distance = np.min(np.linalg.norm(centre[:, None] - points[None], axis=2), axis=1)
        return gain * (1 - smoothstep(distance, 0.3 * radius, radius))

    for label, gain in ((SOCKET_LEFT, 5.0), (SOCKET_RIGHT, 5.0), (MOUTH, 3.5)):
        shared = np.intersect1d(topology.part_vertices(label), np.unique(triangles))
        density += bump(vertices[shared], 0.022, gain)
    nose = (x < 0.02) & (np.abs(y + 0.012) < 0.03)
    return density + 0.3 * nose * face


def build_atlas(topology: Topology, vertices: Array) -> tuple[Array, Index]:
    """uv (U, 2) and uv_triangles (F, 3)."""
    uv: list[Array] = []
    uv_triangles = np.full(topology.triangles.shape, -1)
    offset = 0

    def add(selected: NDArray[np.bool_], coordinates: Array, local: Index) -> None:
        nonlocal offset
        uv_triangles[selected] = local + offset
        uv.append(coordinates)
        offset += len(coordinates)

    skin = skin_island(topology, vertices)
    add(topology.part == SKIN, _skin_uv(topology, vertices, skin), skin.triangles)
    for label, mirrored in ((EYE_LEFT, False), (EYE_RIGHT, True)):
        coordinates, local = eyeball_uv(mirrored)
        add(topology.part == label, coordinates, local)
    for label, (centre, radius) in DISCS.items():
        selected = topology.part == label
        add(selected, *_disc(vertices, topology.triangles[selected], centre, radius))
    for label, corner in TEETH.items():
        first = topology.part_vertices(label)[0]
        selected = topology.part == label
        place = teeth.arch_uv() if label == TEETH_UPPER else teeth.arch_uv() * [1, -1] + [0, 1]
        add(selected, corner + TEETH_SIZE * place, topology.triangles[selected] - first)
    selected = topology.part == TONGUE
    add(selected, *_ball(vertices, topology.triangles[selected], *TONGUE_DISC))
    return np.concatenate(uv), uv_triangles


def _skin_uv(topology: Topology, vertices: Array, skin: Island) -> Array:
    points = vertices[skin.vertex]
    along = points[np.append(skin.loop, skin.loop[0])]
    rim = skin_rim(np.linalg.norm(np.diff(along, axis=0), axis=1))
    if not _runs_right(skin, points):
        rim[:, 0] = 1 - rim[:, 0]
    density = skin_density(topology, vertices, skin.vertex[skin.triangles])
    uv = embed(points, skin.triangles, skin.loop, rim, density, DENSITY_STEPS, relax=True)
    return _symmetric_uv(topology, skin, uv)


def _runs_right(skin: Island, points: Array) -> bool:
    """Whether the loop goes first down the subject's left side, which is the atlas' right."""
    middle = skin.loop[len(skin.loop) // 2 - 6 : len(skin.loop) // 2]
    return bool(points[middle, 0].mean() > 0)


def _symmetric_uv(topology: Topology, skin: Island, uv: Array) -> Array:
    """uv with mirrored vertices at mirrored places."""
    copies: dict[int, list[int]] = {}
    for k, v in enumerate(skin.vertex.tolist()):
        copies.setdefault(v, []).append(k)
    partner = np.arange(len(uv))
    for k, v in enumerate(skin.vertex.tolist()):
        others = copies[int(topology.mirror[v])]
        flipped = uv[k] * [-1, 1] + [1, 0]
        partner[k] = min(others, key=lambda o: float(((uv[o] - flipped) ** 2).sum()))
    return np.asarray(0.5 * (uv + uv[partner] * [-1, 1] + [1, 0]))


def _disc(vertices: Array, triangles: Index, centre: Array, radius: float) -> tuple[Array, Index]:
    """A disc-like island on a circle."""
    used, local = np.unique(triangles, return_inverse=True)
    local = local.reshape(-1, 3)
    loops = boundary_loops(local)
    loop = max(
        loops, key=lambda rim: np.linalg.norm(np.diff(vertices[used[rim]], axis=0), axis=1).sum()
    )
    points = vertices[used]
    along = points[np.append(loop, loop[0])]
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(along, axis=0), axis=1))])
    angle = -2 * np.pi * length[:-1] / length[-1]
    rim = centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    uv = embed(points, local, loop, rim, np.ones(len(local)), 12)
    return uv, local


def _ball(vertices: Array, triangles: Index, centre: Array, radius: float) -> tuple[Array, Index]:
    """A ball-like island on a circle; the rearmost vertex is torn apart along the circle's rim."""
    used, local = np.unique(triangles, return_inverse=True)
    local = local.reshape(-1, 3)
    points = vertices[used]
    pole = int(points[:, 2].argmin())
    cap = (local == pole).any(axis=1)
    loop = max(boundary_loops(local[~cap]), key=len)
    angle = -2 * np.pi * np.arange(len(loop)) / len(loop)
    inner = 0.85 * radius
    rim = centre + inner * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    kept, body = np.unique(local[~cap], return_inverse=True)
    position = {int(v): k for k, v in enumerate(kept)}
    own_loop = np.array([position[int(v)] for v in loop])
    uv = np.zeros((len(used), 2))
    body = body.reshape(-1, 3)
    uv[kept] = embed(points[kept], body, own_loop, rim, np.ones(len(body)), 40)
    extra: list[Array] = []
    for row in np.flatnonzero(cap):
        corner = int(np.flatnonzero(local[row] == pole)[0])
        middle = uv[np.delete(local[row], corner)].mean(axis=0) - centre
        local[row, corner] = len(used) + len(extra)
        extra.append(centre + middle / np.linalg.norm(middle) * radius)
    return np.concatenate([uv, extra]), local


def eyeball_uv(mirrored: bool) -> tuple[Array, Index]:
    """An eyeball's island: the gaze's pole in the centre, the back pole along the rim."""
    n, rings = EYE_SEGMENTS, len(EYE_RING_DEG)
    iris = EYE_RING_DEG[IRIS_RING]
    share = np.interp(EYE_RING_DEG, [0, iris, 90, 180], [0, IRIS_UV_SHARE, 0.88, 1.0])
    azimuth = np.arange(n) * (2 * np.pi / n)
    circle = np.stack([np.cos(azimuth), -np.sin(azimuth)], axis=1)
    places = [np.zeros((1, 2)), *(radius * circle for radius in share)]
    middle = azimuth + np.pi / n
    places.append(np.stack([np.cos(middle), -np.sin(middle)], axis=1))
    uv = np.concatenate(places) * EYE_UV_RADIUS * ([-1, 1] if mirrored else [1, 1])
    uv += EYE_CENTRE_LEFT * [-1, 1] + [1, 0] if mirrored else EYE_CENTRE_LEFT
    local = eyeball_triangles(mirrored).copy()
    back, last = 1 + rings * n, 1 + (rings - 1) * n
    for row in np.flatnonzero((local == back).any(axis=1)):
        first, second = sorted(v - last for v in local[row].tolist() if v != back)
        local[row, local[row] == back] = back + (first if second == first + 1 else n - 1)
    return uv, local
