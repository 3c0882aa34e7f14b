from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.lens import Lens
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.synth.hair.style import sample_hair_style
from flowface_ros.synth.person.person import Odds, Person, sample_person
from flowface_ros.synth.render.light import (
    Light,
    ambient_from_environment,
    even_directions,
    sample_light,
    sh_basis,
)
from flowface_ros.synth.render.raster import rasterize
from flowface_ros.synth.scene.picture import render_scene
from flowface_ros.synth.textures import linear_from_srgb, srgb_from_linear
from flowface_ros.synth.things.occluders import OCCLUDERS, sample_occluder

SIZE = 96
BARE = Odds(glasses=0, hat=0, scarf=0, clothes=0)
FACING = np.array([np.pi, 0, 0])


@cache
def person(seed: int = 0) -> Person:
    """Nobody's hair or clothes in the way."""
    model, rng = load_builtin_head(), np.random.default_rng(seed)
    style = replace(sample_hair_style(rng), name="bald", length_m=0.0, volume_m=0.0)
    return sample_person(model, rng, 128, 200, BARE, style)


def camera() -> Camera:
    middle = SIZE / 2 - 0.5
    intrinsics = np.array([[3 * SIZE, 0, middle], [0, 3 * SIZE, middle], [0, 0, 1.0]])
    return Camera("test", SIZE, SIZE, intrinsics)


def state(who: Person, x: float = 0.0, z: float = 0.9) -> HeadState:
    return replace(
        neutral_state(who.model),
        shape=who.shape,
        rotation=FACING,
        translation=np.array([x, 0.0, z]),
    )


def even_light(strength: float = 0.8) -> Light:
    ambient = np.zeros((9, 3), np.float32)
    ambient[0] = strength
    return Light(
        ambient,
        np.array([[0, 0, -1]], np.float32),
        np.zeros((1, 3), np.float32),
        np.array([0.1], np.float32),
    )


@pytest.mark.parametrize(
    "lens",
    [
        Lens(),
        Lens("plumb_bob", np.array([-0.25, 0.1, 0.001, 0.0, 0.0])),
        Lens("equidistant", np.zeros(4)),
    ],
)
def test_truth_is_the_projected_head(lens):
    who, cam = person(), replace(camera(), lens=lens)
    pose = state(who)
    image = render_scene([(who, pose)], cam, even_light())
    seen = image.face == 0
    assert 0.15 < seen.mean() < 0.8
    vertices = pose_vertices(who.model, pose)
    corners = vertices[who.model.triangles[image.fragments.triangle[seen]]]
    points = (corners * image.fragments.barycentric[seen][..., None]).sum(axis=1)
    pixels, valid = cam.project(rigid.apply(cam.camera_from_rig, points))
    rows, columns = np.nonzero(seen)
    assert valid.all()
    np.testing.assert_allclose(points[:, 2], image.fragments.depth[seen], atol=1e-5)
    away = np.linalg.norm(pixels - np.stack([columns, rows], axis=1), axis=1)
    assert away.max() < (0.02 if lens.bends else 2e-3)


def test_truth_equals_the_rasterized_head_alone():
    who, cam = person(), camera()
    pose = state(who)
    image = render_scene([(who, pose)], cam, even_light())
    vertices = pose_vertices(who.model, pose)
    pixels = np.column_stack([cam.project(vertices)[0], vertices[:, 2]])
    alone = rasterize(pixels, who.model.triangles, SIZE, SIZE, cull_back_faces=True)
    same = image.fragments.triangle == alone.triangle
    assert same[image.face == 0].mean() > 0.999  # lashes may hide some of it
    assert same.mean() > 0.98


def test_nearer_head_hides_the_farther_one():
    who, cam = person(), camera()
    near, far = state(who, z=0.9), state(who, x=0.12, z=1.1)
    image = render_scene([(who, far), (who, near)], cam, even_light())
    alone = render_scene([(who, near)], cam, even_light())
    np.testing.assert_array_equal(image.face == 1, alone.face == 0)
    assert (image.face == 0).sum() > 50
    assert image.fragments.triangle.max() < who.model.triangle_count
    far_depth = image.fragments.depth[image.face == 0]
    assert far_depth.min() > image.fragments.depth[image.face == 1].max()


@pytest.mark.parametrize("seed", range(4))
def test_occluder_hides_and_is_not_a_face(seed):
    who, cam = person(), camera()
    pose = state(who)
    rng = np.random.default_rng(seed)
    thing = sample_occluder(rng, pose.translation, np.zeros(3))
    assert thing.name in OCCLUDERS
    free = render_scene([(who, pose)], cam, even_light())
    hidden = render_scene([(who, pose)], cam, even_light(), occluders=[thing])
    covered = (free.face == 0) & (hidden.face < 0)
    assert covered.any()
    assert (hidden.face <= free.face).all()
    assert (hidden.fragments.depth[covered] < free.fragments.depth[covered] + 0.01).all()
    assert not hidden.fragments.barycentric[hidden.face < 0].any()


def test_background_is_kept_where_nothing_is_drawn():
    who, cam = person(), camera()
    background = np.random.default_rng(0).random((SIZE, SIZE, 3), np.float32)
    image = render_scene([(who, state(who))], cam, even_light(), background)
    corner = np.s_[:6, :6]
    np.testing.assert_array_equal(image.color[corner], background[corner])
    nobody = render_scene([], cam, even_light(), background)
    np.testing.assert_array_equal(nobody.color, background)
    assert (nobody.face == -1).all() and np.isinf(nobody.fragments.depth).all()
    with pytest.raises(ValueError, match="background"):
        render_scene([], cam, even_light(), background[:4])


def test_color_is_linear_in_light():
    who, cam = person(), camera()
    once = render_scene([(who, state(who))], cam, even_light(0.4)).color
    twice = render_scene([(who, state(who))], cam, even_light(0.8)).color
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4, atol=1e-6)
    assert np.isfinite(once).all() and once.min() >= 0


def test_key_light_comes_from_its_side():
    who, cam = person(), camera()
    base = even_light(0.05)
    sides = []
    for x in (-1.0, 1.0):
        direction = np.array([[x, 0, -0.4]], np.float32)
        direction /= np.linalg.norm(direction)
        light = replace(base, directions=direction, colors=np.ones((1, 3), np.float32))
        color = render_scene([(who, state(who))], cam, light).color
        sides.append(color[:, : SIZE // 2].sum() / color[:, SIZE // 2 :].sum())
    assert sides[0] > 1.3 and sides[1] < 1 / 1.3


def test_silhouette_is_blended():
    who, cam = person(), camera()
    background = np.full((SIZE, SIZE, 3), 5.0, np.float32)
    color = render_scene([(who, state(who))], cam, even_light(), background).color[..., 0]
    assert ((color > 1.5) & (color < 4.9)).sum() > 40


def test_a_rigid_move_of_everything_changes_nothing():
    """Heads, camera and light turned together in the rig give the same picture."""
    who, cam = person(), camera()
    rng = np.random.default_rng(5)
    turn = rigid.rotation_from_rotvec(rng.normal(0, 1, 3))
    rig = rigid.transform(turn, rng.normal(0, 1, 3))
    light = sample_light(np.random.default_rng(2))
    pose = state(who)
    first = render_scene([(who, pose)], cam, light)
    directions = even_directions(64)
    values = sh_basis(directions) @ light.ambient
    moved_ambient = np.linalg.lstsq(sh_basis(directions @ turn.T), values, rcond=None)[0]
    moved_light = replace(
        light,
        ambient=moved_ambient.astype(np.float32),
        directions=(light.directions @ turn.T).astype(np.float32),
    )
    head = rig @ pose.rig_from_head
    moved = replace(pose, rotation=rigid_rotvec(head[:3, :3]), translation=head[:3, 3])
    second = render_scene([(who, moved)], replace(cam, rig_from_camera=rig), moved_light)
    assert (first.face != second.face).mean() < 0.002
    assert np.abs(first.color - second.color).mean() < 0.004


def rigid_rotvec(matrix: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(matrix).as_rotvec()


def test_ambient_of_an_even_environment_is_constant():
    ambient = ambient_from_environment(even_directions(256), np.full((256, 3), 0.7))
    np.testing.assert_allclose(ambient[0], 0.7, rtol=1e-3)
    assert np.abs(ambient[1:]).max() < 1e-3


def test_ambient_of_a_linear_environment():
    """Radiance 1 + z gives irradiance over pi 1 + 2/3 z (the clamped cosine's first band)."""
    directions = even_directions(512)
    ambient = ambient_from_environment(directions, np.repeat(1 + directions[:, 2:], 3, axis=1))
    np.testing.assert_allclose(ambient[[0, 3]], [[1] * 3, [2 / 3] * 3], atol=2e-3)


def test_srgb_round_trip():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(srgb_from_linear(linear_from_srgb(values / 255)), values)
