"""Eyeballs, and lids that lie on them: in the template, for every identity and in every unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from head_build.frame import smoothstep
from head_build.topology import (
    EYE_LEFT,
    EYE_RIGHT,
    SKIN,
    SOCKET_LEFT,
    SOCKET_RIGHT,
    Index,
    Topology,
    edge_average,
    eyeball_directions,
)
from numpy.typing import NDArray

Array = NDArray[np.float64]

SOURCE_RADIUS = 0.0168
"""Radius (m) of the source's eyeballs in the head's scale: a third larger than people's."""
EYE_RADIUS = 0.014
"""Of an adult's eyeball 0.012; larger so that the source's lids still fit, small enough that the
iris moves with the gaze about as far as a person's (centre of rotation 13.5 mm behind it)."""
EYE_SHIFT = np.array([0.0, -0.0012, SOURCE_RADIUS - EYE_RADIUS])
"""From the source's eye centre to ours: the front stays, the pupil is where lids leave it free."""
WARP_CLAMP = (0.0125, 0.0080)
"""Beyond this far (m) to the side and up or down of the pupil the skin is not bent any further."""
WARP_RANGE = (0.013, 0.027)
FAR_RING = 12
APERTURE_KEPT = 0.45
"""How much of the identities' variation of the lids' opening is kept: a blink closes by the same
displacement in everybody."""
OVERLAP = 0.0019
"""How far (m) the upper lid passes over the lower one at eyeBlink 1, in the middle of the eye."""
LOWER_SHARE = 0.14
"""The lower lid's part of the closing."""
GAZE_LIDS = {"Up": (1.8, 0.0), "Down": (0.8, 9.0)}
"""Scale of the source's lid motion, and degrees that the lower lid goes down with the gaze."""
CLOSED_HEIGHT = {1: 0.0016, 2: 0.0020, 3: 0.0024, 4: 0.0026, 5: 0.0028, 6: 0.0030, 7: 0.0031}
"""Height (m) over the eyeball of the upper lid's rings when closed; more than the lower lid's, and
than what the straight path of a blend shape loses half way (0.8 mm)."""


def centre(topology: Topology, vertices: Array, part: int) -> Array:
    """An eyeball's centre: midway between its poles."""
    ball = topology.part_vertices(part)
    return np.asarray(0.5 * (vertices[ball[0]] + vertices[ball[-1]]))


def midpoint(topology: Topology, vertices: Array) -> Array:
    return 0.5 * (centre(topology, vertices, EYE_LEFT) + centre(topology, vertices, EYE_RIGHT))


def place_eyeballs(topology: Topology, vertices: Array) -> Array:
    """Spherical eyeballs in place of the source's, and the lids moved onto them."""
    placed = vertices.copy()
    for part, mirrored in ((EYE_LEFT, False), (EYE_RIGHT, True)):
        old = vertices[topology.part_vertices(part)].mean(axis=0)
        new = old + EYE_SHIFT
        placed += _front_shift(vertices, old, new)
        placed[topology.part_vertices(part)] = new + EYE_RADIUS * eyeball_directions(mirrored)
    return placed


def _front_shift(vertices: Array, old: Array, new: Array) -> Array:
    """(V, 3) moves along z from the old sphere's front to the new one's, fading around the eye."""
    across = np.linalg.norm(vertices[:, :2] - old[:2], axis=1)
    fade = 1 - smoothstep(across, *WARP_RANGE)
    fade *= smoothstep(vertices[:, 2] - old[2], -0.004, 0.006)

    def front(sphere: Array, radius: float) -> Array:
        offset = np.minimum(np.abs(vertices[:, :2] - sphere[:2]), WARP_CLAMP)
        reach = np.minimum(np.linalg.norm(offset, axis=1), WARP_CLAMP[0])
        return np.asarray(sphere[2] + np.sqrt(radius**2 - reach**2))

    shift = fade * (front(new, EYE_RADIUS) - front(old, SOURCE_RADIUS))
    return shift[:, None] * [0, 0, 1]


@dataclass(frozen=True)
class Lids:
    """One eye's lids in coordinates about the line through the eyeball's centre and parallel to the
    line between the corners: s along it (m), angle about it (rad, up positive).

    ring (V,): 0 on the rim of the socket, 1, 2, ... outwards on the skin, -1, -2, ... inwards,
    99 elsewhere. upper (V,): belongs to the upper lid. height (V,): distance over the eyeball.
    """

    centre: Array
    axes: Array
    ring: Index
    upper: NDArray[np.bool_]
    s: Array
    angle: Array
    height: Array
    corners: tuple[float, float]

    def place(self, s: Array, angle: Array, height: Array) -> Array:
        """(n, 3) points of the coordinates."""
        across = np.sqrt(np.maximum((EYE_RADIUS + height) ** 2 - s**2, 1e-8))
        local = np.stack([s, across * np.sin(angle), across * np.cos(angle)], axis=1)
        return self.centre + local @ self.axes

    def margin(self, values: Array, upper: bool, s: Array, ring: int = 2) -> Array:
        """Values of a lid's ring, interpolated at s."""
        own = np.flatnonzero((self.ring == ring) & (self.upper == upper))
        own = own[self.s[own].argsort()]
        return np.interp(s, self.s[own], values[own])

    def middle(self, s: Array) -> Array:
        """1 over the middle of the eye, 0 at its corners."""
        t = (s - self.corners[0]) / (self.corners[1] - self.corners[0])
        return np.clip(20 * t * (1 - t), 0, 1)


def coordinates(points: Array, middle: Array, axes: Array) -> tuple[Array, Array, Array]:
    """(s, angle, height) of points (n, 3)."""
    local = (points - middle) @ axes.T
    height = np.linalg.norm(local, axis=1) - EYE_RADIUS
    return local[:, 0], np.arctan2(local[:, 1], local[:, 2]), height


def make_lids(topology: Topology, vertices: Array) -> tuple[Lids, Lids]:
    """The left and right eye's lids of the template."""
    return (
        _make_lids(topology, vertices, EYE_LEFT, SOCKET_LEFT),
        _make_lids(topology, vertices, EYE_RIGHT, SOCKET_RIGHT),
    )


def _make_lids(topology: Topology, vertices: Array, eye: int, socket: int) -> Lids:
    ring = _rings(topology, socket)
    rim = vertices[ring == 2]
    first, last = rim[rim[:, 0].argmin()], rim[rim[:, 0].argmax()]
    along = (last - first) / np.linalg.norm(last - first)
    forward = np.cross(along, [0, 1, 0])
    forward /= np.linalg.norm(forward)
    axes = np.stack([along, np.cross(forward, along), forward])
    middle = centre(topology, vertices, eye)
    s, angle, height = coordinates(vertices, middle, axes)
    ends = coordinates(np.stack([first, last]), middle, axes)
    line = np.interp(s, ends[0], ends[1])
    return Lids(
        middle, axes, ring, angle > line, s, angle, height, (float(ends[0][0]), float(ends[0][1]))
    )


def _rings(topology: Topology, socket: int) -> Index:
    """Distance in edges from the socket's rim: positive on the skin, negative in the socket."""
    ring = np.full(len(topology.mirror), 99)
    rim = np.intersect1d(topology.part_vertices(SKIN), topology.part_vertices(socket))
    ring[rim] = 0
    for part, sign in ((SKIN, 1), (socket, -1)):
        triangles = topology.triangles[topology.part == part]
        for step in range(1, FAR_RING + 1):
            touched = triangles[(ring[triangles] == sign * (step - 1)).any(axis=1)]
            fresh = np.unique(touched)
            ring[fresh[ring[fresh] == 99]] = sign * step
    return ring


def keep_lids_on_eyeballs(topology: Topology, template: Array, basis: Array) -> Array:
    """Identity displacements (V, 3, S) whose lids keep their height over the (rigid) eyeball, and
    whose opening varies less."""
    kept = basis.copy()
    for lids, eye in zip(make_lids(topology, template), (EYE_LEFT, EYE_RIGHT), strict=True):
        move = basis[topology.part_vertices(eye)[0]]
        near = np.flatnonzero(np.abs(lids.ring) <= FAR_RING)
        share = 1 - smoothstep(lids.height[near], 0.004, 0.010)
        outward = template[near] - lids.centre
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        relative = kept[near] - move
        radial = np.einsum("vk,vks->vs", outward, relative) * share[:, None]
        kept[near] -= outward[:, :, None] * radial[:, None]
        kept[near] += _aperture_correction(lids, near, kept)
    return kept


def _aperture_correction(lids: Lids, near: Index, basis: Array) -> Array:
    """(n, 3, S) displacements that take part of the opening's variation away."""
    upward = np.einsum("k,vks->vs", lids.axes[1], basis)
    s = np.clip(lids.s[near], *lids.corners)
    count = basis.shape[-1]
    opening = np.stack(
        [
            lids.margin(upward[:, k], True, s) - lids.margin(upward[:, k], False, s)
            for k in range(count)
        ],
        axis=1,
    )
    fade = 1 - smoothstep(np.abs(lids.ring[near]).astype(float), 3, 9)
    sign = np.where(lids.upper[near], -0.5, 0.5) * fade * (1 - APERTURE_KEPT)
    change = sign[:, None] * opening
    tangent = _upward_tangent(lids, near)
    return tangent[:, :, None] * change[:, None]


def _upward_tangent(lids: Lids, near: Index) -> Array:
    """(n, 3) unit vectors over the eyeball in the direction of rising angle."""
    angle = lids.angle[near]
    local = np.stack([np.zeros_like(angle), np.cos(angle), -np.sin(angle)], axis=1)
    return local @ lids.axes


def close_lids(topology: Topology, template: Array, lids: Lids, source: Array) -> Array:
    """The blink's displacement (V, 3): lids slide over the eyeball until they meet.

    `source` (V, 3) is the source's blink; it says how the skin above unfolds.
    """
    near = np.flatnonzero(np.abs(lids.ring) <= FAR_RING)
    s = np.clip(lids.s[near], *lids.corners)
    middle = lids.middle(s)
    up, down = lids.margin(lids.angle, True, s), lids.margin(lids.angle, False, s)
    meet = down + LOWER_SHARE * (up - down)
    after = coordinates(template + source, lids.centre, lids.axes)
    turned = after[1] - lids.angle
    lowered = np.minimum(lids.margin(turned, True, s), -1e-3)
    ring = lids.ring[near]
    share = np.clip(turned[near] / lowered, 0, 1)
    share = np.where(np.abs(ring) <= 3, 1.0, share)
    share = np.where(ring < -3, 1 - smoothstep(-ring.astype(float), 3, 10), share)
    lower_share = 1 - smoothstep(np.abs(ring).astype(float), 2, 8)
    upper = lids.upper[near]
    closing = -(up - meet + OVERLAP / EYE_RADIUS * middle) * share
    turn = np.where(upper, closing, (meet - down) * lower_share)
    height = lids.height[near].copy()
    wanted = np.array([CLOSED_HEIGHT.get(k, 0.0) for k in ring.tolist()])
    lift = np.where(ring > 7, np.maximum(after[2][near], 0.003), wanted)
    raised = np.where(upper & (ring >= 1), height + middle * (lift - height), height)
    moved = lids.place(lids.s[near], lids.angle[near] + turn, raised)
    mine = 1 - smoothstep(np.abs(ring).astype(float), 7, FAR_RING)
    scale = float(np.median(((up - meet) / -lowered)[middle > 0.9]))
    displacement = source * min(scale, 1.0)
    displacement[near] = (1 - mine)[:, None] * displacement[near] + mine[:, None] * (
        moved - template[near]
    )
    return _smoothed(topology, lids, displacement)


def _smoothed(topology: Topology, lids: Lids, displacement: Array) -> Array:
    """The displacement smoothed over the skin around the lids, not at them."""
    around = (lids.ring > 4) & (lids.ring <= FAR_RING + 2)
    average = edge_average(topology.triangles, len(displacement))
    for _ in range(3):
        mean = average @ displacement
        displacement = np.where(around[:, None], 0.5 * (displacement + mean), displacement)
    return displacement


def slide_lids(template: Array, lids: Lids, displacement: Array) -> Array:
    """A unit's displacement (V, 3) with the lids' inner rings kept at their height."""
    near = np.flatnonzero((np.abs(lids.ring) <= FAR_RING) & (lids.height < 0.008))
    s, angle, height = coordinates(template[near] + displacement[near], lids.centre, lids.axes)
    hold = 1 - smoothstep(np.abs(lids.ring[near]).astype(float), 3, 8)
    lifted = np.maximum(height, np.minimum(lids.height[near], 0.0012))
    height = hold * lids.height[near] + (1 - hold) * lifted
    moving = np.linalg.norm(displacement[near], axis=1) > 1e-5
    slid = displacement.copy()
    slid[near[moving]] = (lids.place(s, angle, height) - template[near])[moving]
    return slid


def follow_gaze(template: Array, lids: Lids, name: str, source: Array) -> Array:
    """The lids' displacement (V, 3) of eyeLookUp* or eyeLookDown*.

    The source's lids follow its own smaller eye rotation; looking down, its lower lid stays.
    """
    scale, lower_deg = GAZE_LIDS["Up" if "Up" in name else "Down"]
    near = np.flatnonzero((np.abs(lids.ring) <= FAR_RING) & ~lids.upper)
    share = 1 - smoothstep(np.abs(lids.ring[near]).astype(float), 2, 9)
    turn = -np.radians(lower_deg) * share * lids.middle(np.clip(lids.s[near], *lids.corners))
    lowered = lids.place(lids.s[near], lids.angle[near] + turn, lids.height[near])
    displacement = source * scale
    displacement[near] += lowered - template[near]
    return displacement
