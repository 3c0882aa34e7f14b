"""Lips that meet without crossing, teeth behind them, and the tongue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from head_build import teeth
from head_build.frame import smoothstep
from head_build.topology import MOUTH, SKIN, TEETH_LOWER, TEETH_UPPER, TONGUE, Index, Topology
from numpy.typing import NDArray

Array = NDArray[np.float64]

RINGS = 9
LOWER_LIP_SHARE = 0.75
SMOOTHING, SMOOTHING_STEPS = 0.5, 4
CONTACT_RING = 1
"""The ring of the lips' inmost skin, where they touch."""
HOOK_DOWN, HOOK_BACK = 0.00010, 0.0007
"""The upper lip's inner edge ends this far (m) below and behind the lower lip's crest: seen from
the front no gap is left, and the lips do not cross."""
CORNER_RANGE = 0.004
HOOK_ROOM, OPENING = 0.0007, 0.0004
"""Room (m) for that edge behind the crest; least distance of the outer rings to the lips' line."""
TOOTH_SHOW = 0.0020
"""How far (m) the upper incisors reach below the line between the lips."""
LIP_THICKNESS = 0.0050
"""Distance (m) of the incisors' front behind the line between the lips."""
TONGUE_GAP = 0.0085
"""Distance (m) of the tongue's tip behind the upper incisors' front."""
TONGUE_WIDTH = 0.72
"""The source's tongue is narrowed by this to fit between the teeth."""
TONGUE_DOWN = 0.0015
MOST_PUSH = 0.006
TEETH_REACH = 0.028
"""Lips further than this (m) to the side are beyond the front of the dental arch."""
LIP_BEFORE_TEETH = 0.0011
"""Least distance (m) of the lips' skin before the teeth."""


@dataclass(frozen=True)
class Lips:
    """ring (V,): 0 on the rim between skin and mouth cavity, positive on the skin, negative inside,
    99 elsewhere. side (V,): 1 upper lip, -1 lower lip, 0 the corners' columns and elsewhere.
    """

    ring: Index
    side: Index
    x: Array

    def along(self, values: Array, side: int, x: Array) -> Array:
        """Values (V, ...) of a lip's contact ring, interpolated at x (n,)."""
        own = np.flatnonzero((self.ring == CONTACT_RING) & ((self.side == side) | (self.side == 2)))
        own = own[self.x[own].argsort()]
        flat = values[own].reshape(len(own), -1)
        columns = [np.interp(x, self.x[own], column) for column in flat.T]
        return np.stack(columns, axis=1).reshape(len(x), *values.shape[1:])

    def fade(self, first: float, last: float) -> Array:
        """(V,) 1 up to the ring `first`, 0 from the ring `last` on."""
        return 1 - smoothstep(np.abs(self.ring).astype(float), first, last)

    def near(self, side: int) -> Index:
        return np.flatnonzero((self.side == side) & (np.abs(self.ring) <= RINGS))


def make_lips(topology: Topology, vertices: Array) -> Lips:
    """The lips' rings; every ring has the same number of vertices, in columns."""
    loops = _ring_loops(topology, vertices)
    corner = int(vertices[loops[CONTACT_RING]][: len(loops[CONTACT_RING]) // 2, 0].argmax())
    ring, side = np.full(len(vertices), 99), np.zeros(len(vertices), int)
    for number, loop in loops.items():
        ring[loop] = number
        column = np.arange(len(loop))
        column = np.minimum(column, len(loop) - column)
        side[loop] = np.where(column < corner, 1, np.where(column > corner, -1, 2))
    return Lips(ring, side, vertices[:, 0])


def _ring_loops(topology: Topology, vertices: Array) -> dict[int, Index]:
    """Ring number -> its vertices in order, from the middle of the upper lip to the left."""
    neighbours: dict[int, set[int]] = {}
    shells = np.isin(topology.part, (SKIN, MOUTH))
    for a, b, c in topology.triangles[shells].tolist():
        for v, w in ((a, b), (b, c), (c, a)):
            neighbours.setdefault(v, set()).add(w)
            neighbours.setdefault(w, set()).add(v)
    skin, cavity = (set(topology.part_vertices(p).tolist()) for p in (SKIN, MOUTH))
    rings = {0: skin & cavity}
    for domain, sign in ((skin, 1), (cavity, -1)):
        seen = set(rings[0])
        for number in range(1, RINGS + 1):
            last = rings[sign * (number - 1)]
            fresh = {w for v in last for w in neighbours[v]} & domain - seen
            seen |= fresh
            rings[sign * number] = fresh
    middle = {v for ring in rings.values() for v in ring if topology.mirror[v] == v}
    start = max(middle & rings[RINGS], key=lambda v: vertices[v, 1])
    loops = {}
    for number in range(RINGS, -RINGS - 1, -1):
        if number < RINGS:
            start = min(middle & rings[number] & neighbours[start])
        loops[number] = _ordered(start, rings[number], neighbours, vertices)
    return loops


def _ordered(start: int, ring: set[int], neighbours: dict[int, set[int]], vertices: Array) -> Index:
    order = [start, max(neighbours[start] & ring, key=lambda v: vertices[v, 0])]
    while len(order) < len(ring):
        order.append(next(iter((neighbours[order[-1]] & ring) - set(order))))
    return np.array(order)


def close_lips(topology: Topology, vertices: Array) -> Array:
    """The template with lips that touch along one line and do not cross."""
    lips = make_lips(topology, vertices)
    closed = vertices.copy()
    upper, lower = (lips.along(vertices, side, lips.x) for side in (1, -1))
    near = lips.near(-1)
    seam = 0.5 * (upper[:, 1] + lower[:, 1])
    closed[near, 1] += (seam - lower[:, 1])[near] * lips.fade(1, 6)[near]
    # The lower lip's columns are the coarser: its chords are the crest that the upper lip follows.
    crest = lips.along(closed, -1, lips.x)
    near = lips.near(1)
    corner = lips.x[(lips.ring == CONTACT_RING) & (lips.side == 2)].max()
    taper = np.clip((corner - np.abs(lips.x)) / CORNER_RANGE, 0, 1)
    reach = crest - taper[:, None] * [0, HOOK_DOWN, HOOK_BACK] - upper
    reach[:, 1] += (1 - taper) * HOOK_DOWN
    closed[near, 1] += reach[near, 1] * lips.fade(1, 6)[near]
    closed[near, 2] += reach[near, 2] * lips.fade(1, 3)[near]
    for side in (1, -1):
        near = lips.near(side)
        outer = near[(lips.ring[near] >= 2) & (lips.ring[near] <= 3)]
        beyond = side * (closed[outer, 1] - crest[outer, 1]) - OPENING
        closed[outer, 1] -= side * np.minimum(beyond, 0)
    inside = np.flatnonzero((lips.side == -1) & (lips.ring == 0))
    closed[inside, 1] = np.minimum(
        closed[inside, 1], crest[inside, 1] - (taper * HOOK_ROOM)[inside]
    )
    return topology.symmetrised(_place_teeth(topology, closed, lips))


def _place_teeth(topology: Topology, vertices: Array, lips: Lips) -> Array:
    """Teeth behind the line between the lips, the tongue behind the teeth."""
    placed = vertices.copy()
    line = lips.along(vertices, 1, np.zeros(1))[0]
    edge = line - [0, TOOTH_SHOW, LIP_THICKNESS]
    for part, upper in ((TEETH_UPPER, True), (TEETH_LOWER, False)):
        placed[topology.part_vertices(part)] = edge + teeth.arch(upper)
    tongue = topology.part_vertices(TONGUE)
    placed[tongue] *= [TONGUE_WIDTH, 1, 1]
    placed[tongue, 1] -= TONGUE_DOWN
    placed[tongue, 2] += edge[2] - TONGUE_GAP - placed[tongue, 2].max()
    return placed


def keep_lips_closed(topology: Topology, template: Array, basis: Array) -> Array:
    """Identity displacements (V, 3, S) in which both lips move alike where they touch, and teeth
    and tongue follow them rigidly."""
    lips = make_lips(topology, template)
    kept = basis.copy()
    upper, lower = (lips.along(basis, side, lips.x) for side in (1, -1))
    mean = lips.along(0.5 * (upper + lower), -1, lips.x)
    share = lips.fade(2, 6)[:, None, None] * (lips.side != 0)[:, None, None]
    kept += share * (mean - kept)
    rim = np.flatnonzero(lips.ring == CONTACT_RING)
    follow = kept[rim].mean(axis=0)
    for part in (TEETH_UPPER, TEETH_LOWER, TONGUE):
        kept[topology.part_vertices(part)] = follow
    return kept


def part_lips(template: Array, lips: Lips, displacement: Array) -> Array:
    """A unit's displacement (V, 3) without the lips crossing: both give way by half."""
    moved = template + displacement
    parted = displacement.copy()
    before, after = (
        lips.along(points[:, 1], 1, lips.x) - lips.along(points[:, 1], -1, lips.x)
        for points in (template, moved)
    )
    need = 0.5 * np.maximum(before - after, 0)
    for side in (1, -1):
        near = lips.near(side)
        parted[near, 1] += side * need[near] * lips.fade(2, 7)[near]
    return parted


def keep_before_teeth(
    topology: Topology, template: Array, lips: Lips, displacement: Array
) -> Array:
    """A unit's displacement (V, 3) with the lips' skin kept before the teeth."""
    row = template[topology.part_vertices(TEETH_UPPER)]
    edge = teeth.arch(upper=True)
    origin = row[0] - edge[0]
    moved = template + displacement
    lack, already = (
        np.clip(origin[2] + teeth.front(p[:, 0]) + LIP_BEFORE_TEETH - p[:, 2], 0, MOST_PUSH)
        for p in (moved, template)
    )
    over = moved[:, 1] > origin[1] - 0.014
    near = (lips.ring >= -2) & (lips.ring <= RINGS) & (np.abs(moved[:, 0]) < TEETH_REACH) & over
    kept = displacement.copy()
    kept[:, 2] += np.where(near, np.maximum(lack - already, 0), 0)
    return kept


def close_open_mouth(
    template: Array, lips: Lips, pose: Callable[[Array], Array], blends: Array, unit: Array
) -> Array:
    """mouthClose (V, 3), corrected so that the lips meet when jawOpen is 1 as well.

    pose: vertices (V, 3) with the jaw open, of a displacement. blends: (V, 3, 3) the skinning's
    linear part there.
    """
    closing = unit.copy()
    for _ in range(3):
        moved = pose(closing) - template
        upper, lower = (lips.along(moved, side, lips.x) for side in (1, -1))
        gap = upper - lower
        fix = np.zeros_like(template)
        for side, share in ((1, 1 - LOWER_LIP_SHARE), (-1, LOWER_LIP_SHARE)):
            near = lips.near(side)
            fix[near] -= side * share * gap[near] * lips.fade(2, RINGS)[near, None]
        closing += np.linalg.solve(blends, fix[..., None])[..., 0]
    return closing


def smooth_lower_lip(lips: Lips, topology: Topology, displacement: Array) -> Array:
    """A displacement (V, 3) evened out along the lower lip, whose few columns make corners."""
    smooth = displacement.copy()
    edges = np.concatenate([topology.triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    same = lips.ring[edges[:, 0]] == lips.ring[edges[:, 1]]
    same &= (np.abs(lips.ring[edges]) <= RINGS).all(axis=1)
    pairs = np.unique(np.sort(edges[same], axis=1), axis=0)
    count = np.bincount(pairs.ravel(), minlength=len(smooth))
    lower = (lips.side == -1) & (count == 2)
    share = (SMOOTHING * lips.fade(4, RINGS) * lower)[:, None]
    for _ in range(SMOOTHING_STEPS):
        total = np.zeros_like(smooth)
        np.add.at(total, pairs[:, 0], smooth[pairs[:, 1]])
        np.add.at(total, pairs[:, 1], smooth[pairs[:, 0]])
        smooth += share * (total / np.maximum(count, 1)[:, None] - smooth)
    return smooth
