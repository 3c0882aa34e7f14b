"""Scenes: repeatable, true to their own truth, and independent in their parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowface_ros import rigid
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.synth.scene.picture import render_scene
from flowface_ros.synth.scene.scene import START_NS, Scene, SceneConfig, seconds

TINY = SceneConfig(seed=3, cameras=2, width=160, height=120, duration_s=0.5)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(TINY)


def test_equal_configurations_give_equal_images_and_states(scene: Scene) -> None:
    again = Scene(TINY)
    np.testing.assert_array_equal(scene.render(1, 0.3).color, again.render(1, 0.3).color)
    a, b = scene.head_state(0, 0.2), again.head_state(0, 0.2)
    np.testing.assert_array_equal(a.expression, b.expression)
    np.testing.assert_array_equal(a.translation, b.translation)


def test_another_seed_gives_another_person(scene: Scene) -> None:
    other = Scene(replace(TINY, seed=4))
    assert np.abs(other.people[0].shape - scene.people[0].shape).max() > 0.1


def test_more_cameras_leave_the_person_as_he_was(scene: Scene) -> None:
    more = Scene(replace(TINY, cameras=3))
    np.testing.assert_array_equal(more.people[0].shape, scene.people[0].shape)


def test_fragments_reproject_onto_their_pixels(scene: Scene) -> None:
    """The picture and the truth agree: the surface point seen at a pixel projects there."""
    for camera_row, t in ((0, 0.1), (1, 0.4)):
        camera = scene.cameras(t).cameras[camera_row]
        rendered = scene.render(camera_row, t).rendered
        vertices = pose_vertices(scene.model, scene.head_state(0, t))
        fragments = rendered.fragments
        rows, columns = np.nonzero(rendered.face >= 0)
        assert len(rows) > 500
        corners = vertices[scene.model.triangles[fragments.triangle[rows, columns]]]
        weights = fragments.barycentric[rows, columns].astype(np.float64)
        points = np.einsum("nij,ni->nj", corners, weights)
        pixels, _ = camera.project(rigid.apply(camera.camera_from_rig, points))
        assert np.abs(pixels - np.column_stack([columns, rows])).max() < 0.02


def test_colour_is_not_shifted_against_the_truth(scene: Scene) -> None:
    """The outline of people in the picture is that of the truth at four times the resolution."""
    camera = scene.cameras(0.1).cameras[0]
    # Hair is drawn as wide as a sample at least, so its outline depends on the resolution.
    bald = replace(scene.people[0], hair=(), wearables=())
    heads = [(bald, scene.head_state(0, 0.1))]
    white = np.ones((camera.height, camera.width, 3), np.float32)
    pictures = [render_scene(heads, camera, scene.light, b * white).color for b in (0.0, 1.0)]
    coverage = 1.0 - (pictures[1] - pictures[0]).mean(axis=2)
    fine = render_scene(heads, camera.scaled(4 * camera.width, 4 * camera.height), scene.light)
    solid = np.isfinite(fine.fragments.depth).astype(float)
    wanted = solid.reshape(camera.height, 4, camera.width, 4).mean(axis=(1, 3))
    slope = np.stack([g.ravel() for g in np.gradient(wanted)], axis=1)
    shift = np.linalg.lstsq(slope, (coverage - wanted).ravel(), rcond=None)[0]
    assert np.abs(shift).max() < 0.06


def test_state_stays_within_the_model(scene: Scene) -> None:
    model, bounds = scene.model, scene.model.joint_bounds
    for t in np.linspace(0, 0.5, 11):
        state = scene.head_state(0, float(t))
        assert (state.expression >= model.expression_bounds[:, 0] - 1e-9).all()
        assert (state.expression <= model.expression_bounds[:, 1] + 1e-9).all()
        for row, name in enumerate(("neck", "jaw", "left_eye", "right_eye"), start=1):
            rotvec = getattr(state, name)
            assert (rotvec >= bounds[row, :, 0] - 1e-9).all()
            assert (rotvec <= bounds[row, :, 1] + 1e-9).all()


def test_vertices_move_smoothly(scene: Scene) -> None:
    step = 1e-3
    path = np.stack(
        [pose_vertices(scene.model, scene.head_state(0, t)) for t in np.arange(0, 0.2, step)]
    )
    velocity = np.linalg.norm(np.diff(path, axis=0), axis=-1) / step
    assert velocity.max() < 2.0
    jump = np.linalg.norm(np.diff(path, 2, axis=0), axis=-1)
    assert jump.max() < 3e-4


def test_everybody_is_in_every_image() -> None:
    crowd = Scene(replace(TINY, faces=2, lens="equidistant"))
    for row in range(2):
        face = crowd.render(row, 0.2).rendered.face
        for i in range(2):
            assert (face == i).sum() > 100


def test_nobody_is_allowed() -> None:
    empty = Scene(replace(TINY, faces=0))
    assert empty.head_states(0.1) == []
    assert empty.render(0, 0.1).color.shape == (120, 160, 3)


def test_stamps_begin_at_the_start_and_keep_their_rate(scene: Scene) -> None:
    for camera in range(2):
        stamps = scene.stamps_ns(camera)
        assert len(stamps) == TINY.frames == 15
        assert 0 <= seconds(stamps[0]) <= 2 * TINY.stamp_jitter_s
        assert (np.diff(stamps) > 0).all()
    assert (scene.stamps_ns(0) != scene.stamps_ns(1)).any()
    assert seconds(START_NS + 1_500_000_000) == 1.5


def test_fast_motion_is_blurred_by_more_renderings(scene: Scene) -> None:
    assert scene._exposure_times(0, 0.2, 0.0) == [0.2]
    many = scene._exposure_times(0, 0.2, 0.4)
    assert len(many) > 1
    assert len(many) % 2 == 1
    assert many[len(many) // 2] == pytest.approx(0.2)
    assert np.ptp(many) < 0.4


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("cameras", 9),
        ("cameras", 0),
        ("faces", 7),
        ("width", 0),
        ("fps", 0.0),
        ("duration_s", -1.0),
        ("lens", "fisheye"),
        ("stamp_jitter_s", 0.1),
        ("fps", float("nan")),
    ],
)
def test_impossible_scenes_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        replace(TINY, **{field: value})
