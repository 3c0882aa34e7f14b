"""Scenes of the Blender set come from numbers alone, and Blender's camera is ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from blender_scenes.arrays import digest, scene_arrays, write_scene  # noqa: E402
from blender_scenes.brows import brow_strands  # noqa: E402
from blender_scenes.develop import Darkroom  # noqa: E402
from blender_scenes.sampling import Scene, sample_scene, yaw_deg  # noqa: E402
from blender_scenes.sequences import (  # noqa: E402
    FPS,
    FRAME_SIZE_PX,
    FRAMES,
    Takes,
    around_the_face,
    sample_take,
)
from blender_scenes.sheet import draw_sequences, draw_sheet  # noqa: E402

from flowface_ros import rigid  # noqa: E402
from flowface_ros.align.embedding import SKIN_POINTS, landmark_points  # noqa: E402
from flowface_ros.head.evaluator import SurfaceEvaluator  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402
from flowface_ros.head.skinning import pose_vertices  # noqa: E402
from flowface_ros.head.state import neutral_state  # noqa: E402
from flowface_ros.synth.render.raster import rasterize  # noqa: E402
from flowface_ros.synth.things.occluders import sample_occluder  # noqa: E402
from flowface_ros.train.picture_set import read_picture  # noqa: E402

MODEL = load_builtin_head()
LANDMARKS = SurfaceEvaluator(MODEL, landmark_points(MODEL)[:SKIN_POINTS])
BLENDER = os.environ.get("FLOWFACE_BLENDER", "")


@pytest.fixture(scope="module")
def scene() -> Scene:
    return sample_scene(MODEL, LANDMARKS, 5, 1)


@pytest.fixture(scope="module")
def arrays(scene: Scene) -> dict[str, np.ndarray]:
    return scene_arrays(scene)


def test_a_number_says_everything(arrays: dict[str, np.ndarray]) -> None:
    again = scene_arrays(sample_scene(MODEL, LANDMARKS, 5, 1))
    other = scene_arrays(sample_scene(MODEL, LANDMARKS, 5, 2))
    assert digest(again) == digest(arrays) != digest(other)
    assert str(again["words"]) == str(arrays["words"])


def test_moved_heads_have_another_digest(arrays: dict[str, np.ndarray]) -> None:
    moved = {**arrays, "0/position": arrays["0/position"] + np.float32(0.001)}
    assert digest(moved) != digest(arrays)


def test_the_head_comes_first_and_is_the_posed_one(
    scene: Scene, arrays: dict[str, np.ndarray]
) -> None:
    posed = pose_vertices(MODEL, scene.state)
    corners = arrays["0/position"][arrays["0/triangles"]]
    np.testing.assert_allclose(corners, posed[MODEL.triangles], atol=1e-6)
    words = json.loads(str(arrays["words"]))
    assert [row["surface"] for row in words["pieces"][0]["materials"]][:2] == ["SKIN", "EYE"]


def test_yaw_of_a_turned_head() -> None:
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("x", 180, degrees=True) * Rotation.from_euler("y", 40, degrees=True)
    state = replace(
        neutral_state(MODEL), rotation=turn.as_rotvec(), translation=np.array([0, 0, 1.0])
    )
    assert abs(yaw_deg(MODEL, state)) == pytest.approx(40, abs=1e-6)


def test_brows_grow_where_brows_are(scene: Scene) -> None:
    (look,) = brow_strands(scene.person)
    triangles = MODEL.triangles[look.strands.anchor]
    member = np.isin(triangles, MODEL.vertex_groups["brows"]).any(axis=1)
    assert len(triangles) > 50 and member.mean() > 0.8
    np.testing.assert_array_equal(brow_strands(scene.person)[0].strands.points, look.strands.points)


@pytest.fixture(scope="module")
def finished(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene's picture 0, with a thing before the face as 1, and taken coarsely as 2; all of
    them of noise where Blender's light should be."""
    folder = tmp_path_factory.mktemp("pictures")
    face = np.ones(SKIN_POINTS, bool)
    darkroom = Darkroom(LANDMARKS, face, LANDMARKS, 5)
    light = np.random.default_rng(0).uniform(0, 0.6, (256, 256, 3))
    head = LANDMARKS.positions(scene.state).mean(axis=0)
    thing = sample_occluder(np.random.default_rng(3), head, np.zeros(3))
    plain = replace(scene, occluders=(), small=False)
    darkroom.finish(folder, 0, plain, light)
    darkroom.finish(folder, 1, replace(plain, occluders=(thing,)), light)
    darkroom.finish(folder, 2, replace(plain, small=True), light)
    return folder


def test_truth_is_the_projected_surface(scene: Scene, finished: Path) -> None:
    picture = read_picture(finished / "000000.npz")
    expected, _ = scene.camera.project(LANDMARKS.positions(picture.head))
    np.testing.assert_allclose(picture.position_px, expected, atol=1e-3)
    assert 0.2 < picture.visible.mean() < 0.95
    assert picture.labels.yaw_deg == scene.yaw_deg and picture.labels.things == ()


def test_things_before_the_face_cover_it(finished: Path) -> None:
    plain, covered = (read_picture(finished / f"00000{k}.npz") for k in (0, 1))
    assert covered.visible.sum() < plain.visible.sum()
    assert not (covered.visible & ~plain.visible).any()
    assert covered.labels.covered > plain.labels.covered >= 0
    assert len(covered.labels.things) == 1


def test_small_pictures_are_coarse(finished: Path) -> None:
    plain, small = (read_picture(finished / f"00000{k}.npz") for k in (0, 2))
    steps = [np.abs(np.diff(p.image.astype(float), axis=1)).mean() for p in (plain, small)]
    assert steps[1] < 0.35 * steps[0]
    assert small.labels.camera == "small" and small.labels.face_px == 48
    assert "small" in small.labels.groups() and plain.labels.face_px > 100


def test_contact_sheet_is_small_enough_for_a_page(finished: Path, tmp_path: Path) -> None:
    draw_sheet(tmp_path / "sheet.jpg", finished)
    assert 5_000 < (tmp_path / "sheet.jpg").stat().st_size <= 300_000


@pytest.fixture(scope="module")
def takes() -> Takes:
    return Takes(MODEL, LANDMARKS, 7)


@pytest.fixture(scope="module")
def frames(takes: Takes) -> list[Scene]:
    """Of the second sequence, whose person turns to a profile."""
    return [takes.scene(FRAMES + k) for k in range(FRAMES)]


def test_a_sequence_is_one_person_before_one_camera(takes: Takes, frames: list[Scene]) -> None:
    first = frames[0]
    assert (first.camera.width, first.camera.height) == FRAME_SIZE_PX
    for frame in frames:
        assert frame.person is first.person and frame.light is first.light
        assert frame.camera == first.camera and frame.surroundings is first.surroundings
        pixels, valid = frame.camera.project(LANDMARKS.positions(frame.state))
        assert valid.all() and (pixels > 0).all() and (pixels < np.array(FRAME_SIZE_PX)).all()
    assert len({frame.noise_seed for frame in frames}) == FRAMES
    other = takes.scene(0)
    assert np.abs(other.person.shape - first.person.shape).max() > 0.5
    assert digest(scene_arrays(Takes(MODEL, LANDMARKS, 7).scene(FRAMES + 3))) == digest(
        scene_arrays(frames[3])
    )


def test_people_in_sequences_move(frames: list[Scene]) -> None:
    yaws = np.array([frame.yaw_deg for frame in frames])
    assert abs(yaws[-1] - yaws[0]) > 25 and np.abs(np.diff(yaws)).max() < 40
    jaws = [frame.state.jaw[0] for frame in frames]
    blink = MODEL.expression_names.index("eyeBlinkLeft")
    assert np.ptp(jaws) > 0.05
    assert max(frame.state.expression[blink] for frame in frames) > 0.2


def test_states_are_in_the_cameras_frame() -> None:
    """What the rig's camera sees of the moving person is what is written for the picture."""
    take = around_the_face(sample_take(MODEL, 7, 0), LANDMARKS)
    moving = take.motion.state(2 / FPS)
    there = rigid.apply(take.camera.camera_from_rig, pose_vertices(MODEL, moving))
    np.testing.assert_allclose(pose_vertices(MODEL, take.state(2 / FPS)), there, atol=1e-9)


def test_a_sequence_is_taken_by_one_camera(frames: list[Scene], tmp_path: Path) -> None:
    darkroom = Darkroom(LANDMARKS, np.ones(SKIN_POINTS, bool), LANDMARKS, 7)
    width, height = FRAME_SIZE_PX
    light = np.random.default_rng(0).uniform(0, 0.6, (height, width, 3))
    for number in range(2):
        darkroom.finish(tmp_path, number, frames[number], light, sequence=0)
    pictures = [read_picture(tmp_path / f"00000{k}.npz") for k in range(2)]
    assert pictures[0].labels.camera == pictures[1].labels.camera
    apart = np.abs(pictures[0].image.astype(float) - pictures[1].image)
    assert 0 < apart.mean() < 12  # each picture's noise is its own, nothing else
    draw_sequences(tmp_path / "sheet.jpg", tmp_path, 2)
    assert (tmp_path / "sheet.jpg").stat().st_size > 5_000


@pytest.mark.slow
@pytest.mark.skipif(not BLENDER, reason="FLOWFACE_BLENDER names no Python that has bpy")
def test_blender_sees_each_point_where_our_camera_does(tmp_path: Path, scene: Scene) -> None:
    # Off the axis and with another focal length in y's place of the centre: nothing cancels.
    camera = scene.camera.cropped(70, 60, 120, 100)
    bare = replace(scene.person, hair=(), wearables=())
    plain = replace(scene, camera=camera, person=bare, occluders=())
    write_scene(tmp_path / "000000.scene.npz", scene_arrays(plain))
    script = ROOT / "tools" / "blender_scenes" / "render.py"
    command = [BLENDER, str(script), str(tmp_path), "--positions"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with np.load(tmp_path / "000000.light.npz") as file:
        seen = file["light"]
    vertices = pose_vertices(MODEL, scene.state)
    pixels, _ = camera.project(vertices)
    drawn = rasterize(
        np.column_stack([pixels, vertices[:, 2]]).astype(np.float32),
        MODEL.triangles, camera.width, camera.height,
    )  # fmt: skip
    both = (seen[..., 3] > 0.99) & (drawn.triangle >= 0)
    # Hairs of brows and lashes stand off the skin; what both see there is not the same surface.
    same = both & (np.abs(seen[..., 2] - drawn.depth) < 0.0002)
    assert both.mean() > 0.3 and same.sum() > 0.9 * both.sum()
    corners = vertices[MODEL.triangles[drawn.triangle]]
    ours = (corners * drawn.barycentric[..., None]).sum(axis=2)
    assert np.abs(ours - seen[..., :3])[same].max() < 0.0005
    where, valid = camera.project(seen[..., :3][same].astype(float))
    row, column = np.nonzero(same)
    away = np.hypot(where[:, 0] - column, where[:, 1] - row)
    assert (
        valid.all()
        and away.max() < 0.1
        and np.abs((where - np.column_stack([column, row])).mean(axis=0)).max() < 0.02
    )
