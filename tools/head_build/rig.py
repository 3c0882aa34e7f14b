"""Joints, skinning weights, and ARKit units split into joint motion and a linear remainder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from head_build.frame import Frame, smoothstep
from head_build.topology import (
    EYE_LEFT,
    EYE_RIGHT,
    MOUTH,
    SKIN,
    TEETH_LOWER,
    TONGUE,
    Topology,
    edge_average,
)
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]
Turn = tuple[str, Array]

ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(5)
PARENTS = (-1, 0, 1, 1, 1)
NECK_JOINT_HEIGHT = 0.042
"""Distance (m) of the neck joint's ring above the hem plane."""
NECK_BLEND = (0.004, 0.075)
"""Distances (m) above the hem plane between which the skin passes from root to neck."""
HINGE = np.array([0.072, -0.003, -0.034])
"""The jaw's hinge (temporomandibular joint) of the left side in the head's frame (m)."""
HINGE_RADIUS = 0.010
GAZE_UP_DEG, GAZE_DOWN_DEG, GAZE_SIDE_DEG = 25.0, 25.0, 30.0
"""Eye rotation of eyeLook* at weight 1; the source's own 10 to 22 degrees are less than people's
range."""
WEIGHT_SOFTENING = 0.004
"""Displacements (m) below this say little about the share of the jaw's motion."""


@dataclass(frozen=True)
class Rig:
    """regressor (J, V), weights (V, J), joints (J, 3), jaw angles at weight 1 (rad)."""

    regressor: Array
    weights: Array
    joints: Array
    jaw_open: float
    jaw_side: float


def joint_regressor(frame: Frame, topology: Topology, vertices: Array) -> Array:
    """Joints as means of small rings of vertices."""
    regressor = np.zeros((5, len(vertices)))
    skin = topology.part_vertices(SKIN)
    regressor[ROOT, topology.hem] = 1
    distance = frame.hem_distance(vertices)
    ring = skin[np.abs(distance[skin] - NECK_JOINT_HEIGHT) < 0.006]
    ring = ring[vertices[ring, 1] < -0.06]
    regressor[NECK, ring] = 1
    for side in (1, -1):
        near = np.linalg.norm(vertices[skin] - HINGE * [side, 1, 1], axis=1) < HINGE_RADIUS
        regressor[JAW, skin[near]] = 1
    for joint, part in ((LEFT_EYE, EYE_LEFT), (RIGHT_EYE, EYE_RIGHT)):
        ball = topology.part_vertices(part)
        front, back = vertices[ball, 2].argmax(), vertices[ball, 2].argmin()
        regressor[joint, ball[[front, back]]] = 1
    return regressor / regressor.sum(axis=1, keepdims=True)


def make_rig(
    frame: Frame,
    topology: Topology,
    vertices: Array,
    jaw_open: Array,
    teeth: tuple[Array, Array, Array],
) -> Rig:
    """The rig, given the displacement (V, 3) of jawOpen; and of the source's lower teeth the places
    (n, 3) and their displacements of jawOpen and jawLeft, to which the angles are fitted."""
    regressor = joint_regressor(frame, topology, vertices)
    joints = regressor @ vertices
    arm = vertices - joints[JAW]
    tooth_arm = teeth[0] - joints[JAW]
    open_angle = _fit_angle(tooth_arm, teeth[1], np.array([1.0, 0, 0]))
    side_angle = _fit_angle(tooth_arm, teeth[2], np.array([0, 1.0, 0]))
    jaw = _jaw_share(topology, arm, jaw_open, open_angle)
    weights = np.zeros((len(vertices), 5))
    weights[:, ROOT] = 1 - smoothstep(frame.hem_distance(vertices), *NECK_BLEND)
    weights[:, JAW] = jaw * (1 - weights[:, ROOT])
    for joint, part in ((LEFT_EYE, EYE_LEFT), (RIGHT_EYE, EYE_RIGHT)):
        weights[topology.part_vertices(part)] = np.eye(5)[joint]
    for part in (TEETH_LOWER, TONGUE):
        weights[topology.part_vertices(part)] = np.eye(5)[JAW]
    weights[:, NECK] = 1 - weights[:, [ROOT, JAW, LEFT_EYE, RIGHT_EYE]].sum(axis=1)
    return Rig(regressor, weights, joints, open_angle, side_angle)


def _fit_angle(arm: Array, displacement: Array, axis: Array) -> float:
    """The rotation angle about an axis that explains displacements best, free of translation."""

    def residual(angle: float) -> float:
        moved = Rotation.from_rotvec(axis * angle).apply(arm) - arm
        return float(((moved - displacement) ** 2).sum())

    return float(minimize_scalar(residual, bounds=(0.0, 0.9), method="bounded").x)


def _jaw_share(topology: Topology, arm: Array, displacement: Array, angle: float) -> Array:
    """How much of the jaw's rotation each vertex follows, smooth over the mesh, symmetric."""
    rigid = Rotation.from_rotvec([angle, 0, 0]).apply(arm) - arm
    share = (rigid * displacement).sum(axis=1)
    share /= (rigid**2).sum(axis=1) + WEIGHT_SOFTENING**2
    share = smoothstep(share, 0.02, 0.98)
    moving = np.isin(topology.vertex_part, (SKIN, MOUTH))
    average = edge_average(topology.triangles, len(arm))
    share = np.where(moving, share, 0)
    for _ in range(6):
        share = np.where(moving, 0.5 * share + 0.5 * (average @ share), share)
    return 0.5 * (share + share[topology.mirror])


def pose_correctives(
    rig: Rig, rigid: NDArray[np.integer], vertices: Array, units: dict[str, Array]
) -> tuple[Array, list[tuple[str, int, Array]]]:
    """Correctives (V, 3, 36) that make joint motion plus skinning equal the units' displacements.

    `rigid` vertices (eyeballs, teeth, tongue) only turn with their joint.
    Also the table of units that became joint motion: name, joint, rotation vector at weight 1.
    """
    correctives = np.zeros((len(vertices), 3, 9 * 4))
    table: list[tuple[str, int, Array]] = []
    for joint, turns in _opposite_turns(rig):
        table += [(name, joint, rotvec) for name, rotvec in turns]
        remainders = [_remainder(rig, vertices, joint, r, units[name]) for name, r in turns]
        first, second = remainders if len(turns) == 2 else (remainders[0], -remainders[0])
        rotvec = turns[0][1]
        axis = int(np.argmax(np.abs(rotvec)))
        angle = float(rotvec[axis])
        # The odd part follows sine, the even part cosine.
        odd = (first - second) / (2 * np.sin(angle))
        even = (first + second) / (2 * (np.cos(angle) - 1))
        i, j = (axis + 1) % 3, (axis + 2) % 3
        base = 9 * (joint - 1)
        correctives[..., base + 3 * j + i] += odd / 2
        correctives[..., base + 3 * i + j] -= odd / 2
        correctives[..., base + 4 * (1 if axis == 0 else 0)] += even
    correctives[rigid] = 0
    return correctives, table


def _opposite_turns(rig: Rig) -> Iterator[tuple[int, list[Turn]]]:
    """Joint, a unit that turns it, and the unit, if any, that turns it the other way."""
    up, down, side = (float(np.radians(d)) for d in (GAZE_UP_DEG, GAZE_DOWN_DEG, GAZE_SIDE_DEG))

    def about(axis: int, angle: float) -> Array:
        rotvec = np.zeros(3)
        rotvec[axis] = angle
        return rotvec

    yield JAW, [("jawOpen", about(0, rig.jaw_open))]
    yield JAW, [("jawLeft", about(1, rig.jaw_side)), ("jawRight", about(1, -rig.jaw_side))]
    for joint, name, outward in ((LEFT_EYE, "Left", side), (RIGHT_EYE, "Right", -side)):
        yield joint, [(f"eyeLookDown{name}", about(0, down)), (f"eyeLookUp{name}", about(0, -up))]
        yield (
            joint,
            [(f"eyeLookOut{name}", about(1, outward)), (f"eyeLookIn{name}", about(1, -outward))],
        )


def _remainder(rig: Rig, vertices: Array, joint: int, rotvec: Array, unit: Array) -> Array:
    """(V, 3) what must be added before skinning so that the unit's displacement comes out."""
    share = rig.weights[:, joint, None, None]
    matrix = Rotation.from_rotvec(rotvec).as_matrix()
    blend = share * matrix + (1 - share) * np.eye(3)
    shift = rig.weights[:, joint, None] * (rig.joints[joint] - matrix @ rig.joints[joint])
    wanted = vertices + unit - shift
    return np.asarray(np.linalg.solve(blend, wanted[..., None])[..., 0] - vertices)


def jaw_turn(rig: Rig) -> Array:
    """(V, 3, 3) linear part of the skinning at jawOpen 1."""
    share = rig.weights[:, JAW, None, None]
    matrix = Rotation.from_rotvec([rig.jaw_open, 0, 0]).as_matrix()
    return np.asarray(share * matrix + (1 - share) * np.eye(3))


def joint_bounds(rig: Rig) -> Array:
    """(J, 3, 2) ranges of the rotation vectors, rad."""
    bounds = np.zeros((5, 3, 2))
    limits = {
        ROOT: [(-np.pi, np.pi)] * 3,
        NECK: [(-0.7, 0.7), (-1.2, 1.2), (-0.7, 0.7)],
        JAW: [
            (-0.03, 1.1 * rig.jaw_open),
            (-1.3 * rig.jaw_side, 1.3 * rig.jaw_side),
            (-0.05, 0.05),
        ],
        LEFT_EYE: [(-0.6, 0.6), (-0.75, 0.75), (-0.1, 0.1)],
        RIGHT_EYE: [(-0.6, 0.6), (-0.75, 0.75), (-0.1, 0.1)],
    }
    for joint, ranges in limits.items():
        bounds[joint] = ranges
    return bounds
