"""Puts the head together: people, mean, shape basis, expressions, rig, atlas, landmarks."""

from __future__ import annotations

import numpy as np
from head_build import expressions, eyes, frame, identity, islands, landmarks, mouth, regions, rig
from head_build.source import Source
from head_build.topology import EYE_LEFT, SKIN, Topology, build_topology
from numpy.typing import NDArray

from flowface_ros.head.model import HeadModel, JointBlendshapes, hash_atlas

Array = NDArray[np.float64]

VERSION = "1"
STEP = 2.0**-20
"""Displacements and positions are rounded to this (m), 1 micrometre: the file becomes half."""


def build(source: Source) -> HeadModel:
    """The built-in head from the source's data."""
    topology = build_topology(source, identity.adult_mean(source))
    people = identity.sample_people(source, topology)
    head = frame.make_frame(topology, topology.symmetrised(people.mean(axis=0)))
    template, basis = _shape_model(head, topology, head.points(people))
    rigid = np.flatnonzero(topology.vertex_part >= EYE_LEFT)
    units = expressions.load_units(source, topology, head, template)
    teeth = expressions.source_teeth(source, head)
    skeleton = rig.make_rig(head, topology, template, units["jawOpen"], teeth)
    correctives, table = rig.pose_correctives(skeleton, rigid, template, units)
    units["mouthClose"] = _closing(topology, template, skeleton, units)
    names = [name for name in expressions.NAMES if name not in {row[0] for row in table}]
    expression = np.stack([units[name] for name in names], axis=-1)
    uv, uv_triangles = islands.build_atlas(topology, template)
    atlas = np.round(uv, 6).astype(np.float32)
    return HeadModel(
        name="flowface",
        version=VERSION,
        licence="CC0-1.0",
        template=rounded(template),
        shape_basis=rounded(basis),
        shape_names=tuple(f"shape{k:02d}" for k in range(basis.shape[-1])),
        expression_basis=rounded(expression),
        expression_names=tuple(names),
        expression_bounds=np.tile([0.0, 1.0], (len(names), 1)),
        pose_correctives=rounded(correctives),
        joint_regressor=skeleton.regressor,
        parents=np.array(rig.PARENTS, np.int32),
        joint_bounds=rig.joint_bounds(skeleton),
        skinning_weights=skeleton.weights.astype(np.float32),
        triangles=topology.triangles.astype(np.int32),
        uv=atlas,
        uv_triangles=uv_triangles.astype(np.int32),
        atlas_hash=hash_atlas(atlas, uv_triangles.astype(np.int32)),
        landmarks=landmarks.make_landmarks(topology, template),
        vertex_groups=regions.vertex_groups(topology, template),
        blendshapes=JointBlendshapes(
            names=tuple(row[0] for row in table),
            joints=np.array([row[1] for row in table], np.int32),
            rotations=np.array([row[2] for row in table]),
        ),
    )


def _closing(
    topology: Topology, template: Array, skeleton: rig.Rig, units: dict[str, Array]
) -> Array:
    """mouthClose, such that with jawOpen it closes the mouth."""
    turn = rig.jaw_turn(skeleton)
    lips = mouth.make_lips(topology, template)

    def pose(displacement: Array) -> Array:
        change = np.einsum("vij,vj->vi", turn, displacement)
        return np.asarray(template + units["jawOpen"] + change)

    unit = mouth.close_open_mouth(template, lips, pose, turn, units["mouthClose"])
    return topology.symmetrised(unit)


def rounded(values: Array) -> NDArray[np.float32]:
    """float32 multiples of `STEP`."""
    return (np.round(values / STEP) * STEP).astype(np.float32) + np.float32(0)


def _shape_model(head: frame.Frame, topology: Topology, people: Array) -> tuple[Array, Array]:
    """Template (V, 3) and shape basis (V, 3, S) per standard deviation, from people (P, V, 3)."""
    mean = topology.symmetrised(people.mean(axis=0))
    skin = topology.part_vertices(SKIN)
    used = skin[mean[skin, 1] > -0.09]
    for _ in range(2):
        people = frame.align(people, mean, used)
        mean = topology.symmetrised(people.mean(axis=0))
    mean[:, [1, 2]] += (
        frame.EYES_FROM_ORIGIN[1:] - (eyes.midpoint(topology, mean) + eyes.EYE_SHIFT)[1:]
    )
    basis = identity.principal_components(people, used)
    hem = frame.HemFlattener(head, topology, mean)
    basis = hem.displacement(basis)
    template = hem.vertices(mean)
    template = mouth.close_lips(topology, eyes.place_eyeballs(topology, template))
    basis = mouth.keep_lips_closed(topology, template, basis)
    return template, eyes.keep_lids_on_eyeballs(topology, template, basis)
