from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowface_ros import rigid
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import neutral_state
from flowface_ros.synth.anatomy.hairline import Hairline
from flowface_ros.synth.anatomy.head_tables import head_tables, triangle_frames
from flowface_ros.synth.anatomy.skin_map import face_points
from flowface_ros.synth.hair.style import STYLES, hair_color, sample_hair_style
from flowface_ros.synth.person.assembly import pose_person
from flowface_ros.synth.person.person import Odds, sample_person, skin_map_of
from flowface_ros.synth.scene.background import sample_background
from flowface_ros.synth.textures import fractal_noise
from flowface_ros.synth.things.shapes import box, capsule, ellipsoid, tube

TEXTURE = 128


@pytest.fixture(scope="module")
def model():
    return load_builtin_head()


def make(model, seed, **more):
    return sample_person(model, np.random.default_rng(seed), TEXTURE, 300, **more)


def test_same_seed_same_person_other_seed_other_person(model):
    first, again, other = make(model, 4), make(model, 4), make(model, 5)
    np.testing.assert_array_equal(first.shape, again.shape)
    np.testing.assert_array_equal(first.skin[0], again.skin[0])
    np.testing.assert_array_equal(first.eye, again.eye)
    for a, b in zip(first.hair, again.hair, strict=True):
        np.testing.assert_array_equal(a.strands.points, b.strands.points)
    assert (first.shape != other.shape).any() and (first.skin[0] != other.skin[0]).any()


def test_skins_cover_light_and_dark(model):
    inside = skin_map_of(model, TEXTURE).inside
    tones = np.array(
        [np.median((make(model, k).skin[0][inside, :3] / 255.0) ** 2, axis=0) for k in range(24)]
    )
    assert tones[:, 0].max() > 0.5 and tones[:, 0].min() < 0.2
    assert (tones[:, 0] > tones[:, 1]).all() and (tones[:, 1] > tones[:, 2]).all()


def test_texture_halves_down_to_64(model):
    assert [len(level) for level in make(model, 1).skin] == [128, 64]
    with pytest.raises(ValueError, match="texture_size"):
        sample_person(model, np.random.default_rng(0), texture_size=100)


def test_odds_decide_what_is_worn(model):
    nothing = make(model, 2, odds=Odds(0, 0, 0, 0))
    assert not nothing.wearables
    dressed = make(model, 2, odds=Odds(1, 0, 0, 1))
    assert sum(item.transparency > 0 for item in dressed.wearables) == 1
    assert any(item.joint == 0 for item in dressed.wearables)
    assert make(model, 2, odds=Odds(0, 0, 1, 0)).description["scarf"]


@pytest.mark.parametrize("name", STYLES)
def test_hair_of_every_style_stays_out_of_the_head(model, name):
    rng = np.random.default_rng(3)
    style = sample_hair_style(rng)
    while style.name != name:
        style = sample_hair_style(rng)
    person = make(model, 7, odds=Odds(0, 0, 0, 0), hair_style=style)
    scalp = [look.strands for look in person.hair if look.strands.anchor is None]
    if name == "bald":
        assert not scalp
        return
    points = scalp[0].points
    assert np.isfinite(points).all() and len(points) > 100
    eyes = head_tables(model).eye_centers.mean(axis=0)
    in_face = np.linalg.norm(points - eyes + np.array([0, 0.03, 0.0]), axis=-1) < 0.035
    assert in_face.mean() < 0.01
    length = np.linalg.norm(np.diff(points, axis=1), axis=2).sum(axis=1)
    assert 0.1 * style.length_m < np.median(length) < 1.7 * max(style.length_m, 0.15)


def test_everything_follows_the_head_rigidly(model):
    person = make(model, 11, odds=Odds(1, 0, 0, 1))
    rest = replace(neutral_state(model), shape=person.shape)
    rotation, shift = np.array([0.3, -0.8, 0.2]), np.array([0.1, -0.2, 1.0])
    moved = replace(rest, rotation=rotation, translation=shift)
    matrix = rigid.transform(rigid.rotation_from_rotvec(rotation), shift)
    up = np.array([0.0, -1.0])
    first, second = (pose_person(person, s, 0.001, up) for s in (rest, moved))
    for a, b in zip([first.head, *first.rest], [second.head, *second.rest], strict=True):
        np.testing.assert_allclose(rigid.apply(matrix, a.position), b.position, atol=2e-5)


def test_lashes_go_down_with_the_lid(model):
    person = make(model, 3, odds=Odds(0, 0, 0, 0))
    rest = replace(neutral_state(model), shape=person.shape)
    closed = rest.expression.copy()
    for side in ("Left", "Right"):
        closed[model.expression_names.index(f"eyeBlink{side}")] = 1
    up = np.array([0.0, -1.0])
    tips = []
    for state in (rest, replace(rest, expression=closed)):
        lashes = pose_person(person, state, 0.001, up).rest[len(person.hair) - 1]
        tips.append(lashes.position.reshape(*lashes.strands, 3)[:, -1, 1].max())
    assert tips[0] - tips[1] > 0.002


def test_triangle_frames_turn_with_the_triangles(model):
    vertices = model.template.astype(float)
    turn = rigid.rotation_from_rotvec([0.4, 0.1, -0.7])
    triangles = model.triangles[::97]
    origin, axes = triangle_frames(vertices, triangles)
    turned_origin, turned_axes = triangle_frames(vertices @ turn.T, triangles)
    np.testing.assert_allclose(turned_origin, origin @ turn.T, atol=1e-9)
    np.testing.assert_allclose(turned_axes, turn @ axes, atol=1e-6)
    np.testing.assert_allclose(axes.transpose(0, 2, 1) @ axes, np.tile(np.eye(3), (len(axes), 1, 1)), atol=1e-6)  # fmt: skip  # noqa: E501


def test_tables_of_the_builtin_head(model):
    tables = head_tables(model)
    np.testing.assert_array_equal(tables.split[tables.corners], model.triangles)
    assert np.bincount(tables.material, minlength=6).min() > 100
    assert 0.3 < tables.iris_share < 0.6
    for upper, lower in tables.lids:
        top, bottom = model.template[upper][:, 1].mean(), model.template[lower][:, 1].mean()
        assert len(upper) > 8 and len(lower) > 8 and top > bottom
    hem = model.template[tables.hem]
    assert np.ptp(hem[:, 0]) > 0.08 and hem[:, 1].max() < -0.05
    nose = model.template[np.argmax(model.template[:, 2])]
    assert tables.occlusion[np.argmax(model.template[:, 2])] > 0.8 and nose[1] < 0


def test_hairline_leaves_the_face_free(model):
    points = face_points(model)
    line = Hairline(points)
    face = np.vstack([points.brow, points.eye, points.nose_tip, points.chin, points.jaw[:8]])
    assert (line.distance(face) < -0.003).all()
    crown = model.template[np.argmax(model.template[:, 1])]
    back = model.template[np.argmin(model.template[:, 2])]
    assert (line.distance(np.stack([crown, back])) > 0.02).all()
    assert line.density(crown[None], 0.0, 1.0)[0] < 0.2 < line.density(crown[None], 0.0, 0.0)[0]


def test_posed_head_of_a_person_is_the_models(model):
    person = make(model, 6, odds=Odds(0, 0, 0, 0))
    state = replace(neutral_state(model), shape=person.shape)
    head = pose_person(person, state, 0.001, np.array([0.0, -1.0])).head
    expected = pose_vertices(model, state)[model.triangles]
    np.testing.assert_allclose(head.position[head.triangles], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("mesh", "volume"),
    [
        (ellipsoid([0.1, 0.2, 0.3], 40, 60), 4 / 3 * np.pi * 0.006),
        (box([1, 2, 3]), 6.0),
        (capsule([0, 0, 0], [0.1, 0, 0], 0.02, 0.02), None),
        (tube(np.array([[0, 0, 0], [0, 0.2, 0], [0, 0.4, 0.1]]), 0.02, 16), None),
    ],
)
def test_shapes_face_outwards(mesh, volume):
    corners = mesh.vertices[mesh.triangles] - mesh.vertices.mean(axis=0)
    signed = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert signed > 0
    if volume:
        np.testing.assert_allclose(signed, volume, rtol=0.03)


def test_dark_skin_comes_with_dark_hair():
    rng = np.random.default_rng(0)
    dark = np.array([hair_color(rng, 0.95, 0.2)[0] for _ in range(60)])
    light = np.array([hair_color(rng, 0.0, 0.2)[0] for _ in range(60)])
    assert dark.mean() < 0.5 * light.mean()
    grey = [np.mean([hair_color(rng, 0.3, age)[1] for _ in range(60)]) for age in (0.1, 0.9)]
    assert grey[0] < 0.1 < 0.4 < grey[1]


def test_backgrounds_differ_and_are_light():
    first, second = (sample_background(np.random.default_rng(k), 80, 48) for k in (0, 1))
    assert first.shape == (48, 80, 3) and first.dtype == np.float32
    assert first.min() >= 0 and np.abs(first - second).mean() > 0.02
    np.testing.assert_array_equal(first, sample_background(np.random.default_rng(0), 80, 48))


def test_noise_is_normalised():
    noise = fractal_noise(np.random.default_rng(0), 64, 4, 32)
    assert abs(noise.mean()) < 1e-4 and abs(noise.std() - 1) < 1e-3
