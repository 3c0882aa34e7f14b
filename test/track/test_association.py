"""Which alignment is of which head, and which faces in several views are one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from track_world import FakeAligner, World, camera_at, facing

from flowface_ros import rigid
from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import Camera
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState
from flowface_ros.track.association import Expected, are_one_face, assign, face_size, misfit
from flowface_ros.track.frames import ViewAlignment
from flowface_ros.track.grouping import group, pair_cost

CAMERAS = [
    camera_at("a", [0, 0.45, 0], [1.3, 0, 0]),
    camera_at("b", [0, 0, 0.05], [1.3, 0, 0]),
    camera_at("c", [0, -0.45, 0], [1.3, 0, 0]),
]


@pytest.fixture(scope="module")
def evaluator(model: HeadModel) -> SurfaceEvaluator:
    world = World(model, CAMERAS, [])
    aligner = FakeAligner(world)
    evaluator = SurfaceEvaluator(model, aligner.points)
    evaluator.points = aligner.points
    return evaluator


def seen(
    evaluator: SurfaceEvaluator, camera: Camera, state: HeadState, noise_px: float = 0.5, seed=0
) -> ViewAlignment:
    points = rigid.apply(camera.camera_from_rig, evaluator.positions(state))
    pixels, _ = camera.project(points)
    rng = np.random.default_rng(seed)
    pixels = pixels + rng.normal(0, noise_px, pixels.shape)
    sigma = np.full(len(pixels), noise_px)
    return ViewAlignment(camera, Observation(evaluator.points, pixels, sigma, camera.name, 0))


def expected(states: Sequence[HeadState], sigma: float = 0.002) -> dict[str, Expected]:
    return {f"p{i}": Expected(state, sigma) for i, state in enumerate(states)}


def test_misfit_is_the_shift_over_the_size(model: HeadModel, evaluator: SurfaceEvaluator) -> None:
    state = facing(model, [1.3, 0, 0])
    alignment = seen(evaluator, CAMERAS[1], state, noise_px=1e-6)
    moved = replace(state, translation=np.add(state.translation, [0, 0.03, 0]))
    size = face_size(alignment.observation.pixels)
    shift_px = 550 * 0.03 / 1.2
    value = misfit(CAMERAS[1], alignment.observation, moved, lambda _: evaluator)
    assert value == pytest.approx(shift_px / size, rel=0.15)
    assert misfit(CAMERAS[1], alignment.observation, state, lambda _: evaluator) < 1e-6
    behind = replace(state, translation=-state.translation)
    assert misfit(CAMERAS[1], alignment.observation, behind, lambda _: evaluator) == np.inf


@settings(max_examples=20, deadline=None)
@given(
    order=st.permutations(range(3)),
    shift=st.floats(-0.03, 0.03),
    missing=st.sampled_from([None, 0, 1, 2]),
)
def test_heads_get_their_faces_in_any_order(
    model: HeadModel,
    evaluator: SurfaceEvaluator,
    order: list[int],
    shift: float,
    missing: int | None,
) -> None:
    states = [facing(model, [1.3, y, 0], seed=i) for i, y in enumerate((-0.25, 0.0, 0.25))]
    faces = [seen(evaluator, CAMERAS[1], states[i]) for i in order if i != missing]
    moved = [replace(s, translation=np.add(s.translation, [0, shift, 0])) for s in states]
    assigned = assign(faces, expected(moved), lambda _: evaluator)
    assert assigned.free == [] and assigned.duplicates == 0
    for i in range(3):
        right = [] if i == missing else [faces[[k for k in order if k != missing].index(i)]]
        assert assigned.of_head[f"p{i}"] == right


def test_far_off_faces_stay_free_unless_the_head_is_unsure(
    model: HeadModel, evaluator: SurfaceEvaluator
) -> None:
    state = facing(model, [1.3, 0, 0])
    face = seen(evaluator, CAMERAS[1], replace(state, translation=[1.3, 0.12, 0]))
    sure = assign([face], expected([state]), lambda _: evaluator)
    unsure = assign([face], expected([state], sigma=0.08), lambda _: evaluator)
    assert sure.free == [face] and sure.of_head == {"p0": []}
    assert unsure.free == [] and unsure.of_head == {"p0": [face]}


def test_two_looks_at_one_face_are_one(model: HeadModel, evaluator: SurfaceEvaluator) -> None:
    """The look that fits a known head best is kept; the other head gets nothing."""
    front = facing(model, [1.2, 0, 0])
    hidden = facing(model, [1.5, 0.02, 0])
    looks = [seen(evaluator, CAMERAS[1], front, seed=s) for s in (1, 2)]
    assert are_one_face(*looks)
    assigned = assign(looks, expected([hidden, front]), lambda _: evaluator)
    assert assigned.duplicates == 1 and assigned.free == []
    assert assigned.of_head["p0"] == [] and len(assigned.of_head["p1"]) == 1


def test_nobody_known_leaves_all_free(model: HeadModel, evaluator: SurfaceEvaluator) -> None:
    faces = [seen(evaluator, c, facing(model, [1.3, 0, 0])) for c in CAMERAS]
    assigned = assign(faces, {}, lambda _: evaluator)
    assert assigned.free == faces and assigned.of_head == {}
    assert assign([], {}, lambda _: evaluator).free == []


def test_rays_of_one_person_meet_and_of_two_do_not(
    model: HeadModel, evaluator: SurfaceEvaluator
) -> None:
    ann, bob = (facing(model, [1.3, y, 0.01], seed=i) for i, y in enumerate((0.2, -0.2)))
    for state in (ann, bob):
        pair = [seen(evaluator, camera, state) for camera in CAMERAS[:2]]
        assert group(pair, model, lambda _: evaluator) == [pair]
    mixed = seen(evaluator, CAMERAS[0], ann), seen(evaluator, CAMERAS[1], bob)
    assert pair_cost(*mixed, model, lambda _: evaluator) == np.inf


@settings(max_examples=15, deadline=None)
@given(
    order=st.permutations(range(9)),
    gone=st.sets(st.integers(0, 8), max_size=3),
    turn=st.floats(-0.3, 0.3),
)
def test_faces_of_three_people_in_three_views_are_grouped(
    model: HeadModel,
    evaluator: SurfaceEvaluator,
    order: list[int],
    gone: set[int],
    turn: float,
) -> None:
    people = [
        facing(model, [1.3 + 0.1 * i, y, 0.02 * i], yaw=turn, seed=i)
        for i, y in enumerate((-0.3, 0.0, 0.3))
    ]
    faces, owner = [], {}
    for k in order:
        if k not in gone:
            person, camera = divmod(k, 3)
            face = seen(evaluator, CAMERAS[camera], people[person], seed=k)
            owner[id(face)] = person
            faces.append(face)
    groups = group(faces, model, lambda _: evaluator)
    assert sum(map(len, groups)) == len(faces)
    for members in groups:
        assert len({owner[id(face)] for face in members}) == 1
        assert len({face.camera.name for face in members}) == len(members)
    assert len(groups) == len(set(owner.values()))


def test_points_that_only_some_views_have_are_no_obstacle(
    model: HeadModel, evaluator: SurfaceEvaluator
) -> None:
    state = facing(model, [1.3, 0, 0])
    a, b = (seen(evaluator, camera, state) for camera in CAMERAS[:2])
    half = replace(b, observation=b.observation[::2])
    evaluator_of = partial(SurfaceEvaluator, model)
    assert group([a, half], model, evaluator_of) == [[a, half]]
    other_half = replace(a, observation=a.observation[1::2])
    assert group([other_half, half], model, evaluator_of) == [[other_half], [half]]
