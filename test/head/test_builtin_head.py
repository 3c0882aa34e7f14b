"""The built-in head's data: what every room relies on, and what one would see if it were wrong."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from flowface_ros.head.blendshapes import ARKIT_NAMES, state_from_blendshapes
from flowface_ros.head.model import JOINT_NAMES, VERTEX_GROUP_NAMES, hash_atlas
from flowface_ros.head.model_file import BUILTIN_HEAD, load_builtin_head, read_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.synth.render.raster import rasterize

MODEL = load_builtin_head()
NEUTRAL = neutral_state(MODEL)
SIDES = ("left", "right")


def people(count: int, seed: int = 1) -> list[HeadState]:
    rng = np.random.default_rng(seed)
    shapes = rng.standard_normal((count, MODEL.shape_count))
    return [replace(NEUTRAL, shape=shape) for shape in shapes]


def posed(state: HeadState = NEUTRAL, **weights: float) -> NDArray[np.float64]:
    return pose_vertices(MODEL, state_from_blendshapes(MODEL, weights, state))


def part(*groups: str) -> NDArray[np.int32]:
    """Triangles whose corners are all in one of the groups."""
    chosen = np.zeros(MODEL.triangle_count, bool)
    for group in groups:
        inside = np.zeros(MODEL.vertex_count, bool)
        inside[MODEL.vertex_groups[group]] = True
        chosen |= inside[MODEL.triangles].all(axis=1)
    return MODEL.triangles[chosen]


@pytest.fixture(scope="module")
def mirror() -> NDArray[np.int64]:
    """The vertex at each vertex's mirrored place, within the same kind of part."""
    from scipy.spatial import cKDTree

    template = MODEL.template.astype(float)
    found = np.arange(MODEL.vertex_count)
    swap = {"left_eyeball": "right_eyeball", "right_eyeball": "left_eyeball"}
    inner = ("left_eyeball", "right_eyeball", "upper_teeth", "lower_teeth", "tongue")
    rest = np.setdiff1d(found, np.concatenate([MODEL.vertex_groups[g] for g in inner]))
    pairs = [(MODEL.vertex_groups[g], MODEL.vertex_groups[swap.get(g, g)]) for g in inner]
    for own, other in [*pairs, (rest, rest)]:
        distance, nearest = cKDTree(template[other] * [-1, 1, 1]).query(template[own])
        assert distance.max() < 3e-6
        found[own] = other[nearest]
    return found


def test_it_has_the_agreed_parts() -> None:
    expected = [n for n in ARKIT_NAMES if not n.startswith(("eyeLook", "jawO", "jawL", "jawR"))]
    assert list(MODEL.expression_names) == expected
    assert len(expected) == 41
    assert set(VERTEX_GROUP_NAMES) == set(MODEL.vertex_groups)
    assert {"sellion", "ibug68", "left_iris", "right_iris"} <= set(MODEL.landmarks)
    assert (MODEL.expression_bounds == [0, 1]).all()
    assert 80 <= MODEL.shape_count <= 100
    assert MODEL.licence == "CC0-1.0"
    assert BUILTIN_HEAD.stat().st_size < 6e6
    assert BUILTIN_HEAD.with_name("LICENSE.builtin_head.txt").is_file()
    assert MODEL.atlas_hash == hash_atlas(MODEL.uv, MODEL.uv_triangles)


def test_it_has_a_persons_size() -> None:
    skin = MODEL.template[MODEL.vertex_groups["skin"]]
    chin = MODEL.landmarks["ibug68"].interpolate(MODEL.triangles, MODEL.template)[8]
    assert 0.20 < skin[:, 1].max() - chin[1] < 0.25
    eyes = MODEL.joint_regressor[3:] @ MODEL.template
    assert eyes[0, 0] > 0 > eyes[1, 0]
    assert 0.060 < eyes[0, 0] - eyes[1, 0] < 0.066
    np.testing.assert_allclose(eyes.mean(axis=0), [0, 0.026, 0.026], atol=0.003)


def test_left_and_right_are_mirror_images(mirror: NDArray) -> None:
    flip = np.array([-1.0, 1.0, 1.0])
    for name in ARKIT_NAMES:
        other = name.replace("Left", "\0").replace("Right", "Left").replace("\0", "Right")
        assert np.abs(posed(**{name: 1.0})[mirror] * flip - posed(**{other: 1.0})).max() < 1e-5


def test_the_neck_is_cut_by_a_plane_in_everybody() -> None:
    outer = np.concatenate([part("skin"), part("mouth_cavity")])
    edges = np.sort(MODEL.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    rim = np.intersect1d(np.unique(unique[count == 1]), np.unique(outer))
    rim = rim[MODEL.template[rim, 1] < -0.08]
    assert len(rim) > 40
    for state in people(10):
        points = posed(state)[rim]
        assert np.linalg.svd(points - points.mean(axis=0))[1][2] / len(rim) ** 0.5 < 2e-5


def test_nothing_but_neck_and_teeth_is_open() -> None:
    edges = np.sort(MODEL.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    assert count.max() == 2
    rim = np.setdiff1d(np.unique(unique[count == 1]), MODEL.vertex_groups["teeth"])
    assert MODEL.template[rim, 1].max() < -0.08


def test_eyeballs_are_rigid_balls_about_their_joints() -> None:
    for state in people(5):
        vertices = posed(state)
        for side in SIDES:
            joint = JOINT_NAMES.index(f"{side}_eye")
            centre = MODEL.joint_regressor[joint] @ vertices
            radius = np.linalg.norm(
                vertices[MODEL.vertex_groups[f"{side}_eyeball"]] - centre, axis=1
            )
            np.testing.assert_allclose(radius, 0.014, atol=5e-6)


def test_gaze_turns_the_eyes_and_nothing_else_does() -> None:
    ball = MODEL.vertex_groups["left_eyeball"]
    axis = posed(eyeLookOutLeft=1.0)[ball[0]] - posed(eyeLookOutLeft=1.0)[ball[-1]]
    assert axis[0] > 0
    assert np.degrees(np.arctan2(axis[0], axis[2])) == pytest.approx(30, abs=0.1)
    for name in ("eyeBlinkLeft", "jawOpen", "browDownLeft", "mouthSmileLeft"):
        assert np.abs(posed(**{name: 1.0}) - posed())[ball].max() < 1e-6


def visible_pixels(vertices: NDArray, chosen: NDArray, centre: NDArray, yaw_deg: float) -> int:
    """Pixels, 0.1 mm wide, at which one of the chosen triangles is seen around a point."""
    size, yaw = 400, np.radians(yaw_deg)
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    seen = (vertices - centre) @ turn.T * 1e4
    pixels = np.stack([size / 2 + seen[:, 0], size / 2 - seen[:, 1], 1e4 - seen[:, 2]], axis=1)
    triangle = rasterize(pixels, MODEL.triangles, size, size).triangle
    mask = np.zeros(MODEL.triangle_count + 1, bool)
    mask[:-1][chosen] = True
    return int(mask[triangle].sum())


def test_a_blink_hides_the_eyeball_in_everybody() -> None:
    for state in [NEUTRAL, *people(30)]:
        vertices = posed(state, eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
        for side in SIDES:
            inside = np.zeros(MODEL.vertex_count, bool)
            inside[MODEL.vertex_groups[f"{side}_eyeball"]] = True
            ball = inside[MODEL.triangles].all(axis=1)
            centre = vertices[inside].mean(axis=0)
            for yaw in (-40, 0, 40):
                assert visible_pixels(vertices, ball, centre, yaw) <= 5
            assert visible_pixels(posed(state), ball, centre, 0) > 5000


@pytest.mark.parametrize("blink", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_lids_stay_outside_the_eyeball(blink: float) -> None:
    centre = MODEL.joint_regressor[3] @ MODEL.template
    lid = MODEL.vertex_groups["left_eyelids"]
    outside = lid[np.linalg.norm(MODEL.template[lid] - centre, axis=1) > 0.0150]
    assert len(outside) > 100
    for state in people(30):
        vertices = posed(state, eyeBlinkLeft=blink)
        centre = MODEL.joint_regressor[3] @ pose_vertices(MODEL, state)
        assert np.linalg.norm(vertices[outside] - centre, axis=1).min() > 0.0141


@numba.njit
def crossings(vertices, edges, triangles):  # type: ignore[no-untyped-def]
    """How many (edge, triangle) pairs without a common corner cross."""
    found = 0
    for t in range(len(triangles)):
        a, b, c = vertices[triangles[t, 0]], vertices[triangles[t, 1]], vertices[triangles[t, 2]]
        u, v, normal = b - a, c - a, np.cross(b - a, c - a)
        uu, uv, vv = u @ u, u @ v, v @ v
        area = uu * vv - uv * uv
        low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
        for i, j in edges:
            if i in triangles[t] or j in triangles[t] or area < 1e-24:
                continue
            p, q = vertices[i], vertices[j]
            if (np.maximum(p, q) < low).any() or (np.minimum(p, q) > high).any():
                continue
            side_p, side_q = normal @ (p - a), normal @ (q - a)
            if side_p * side_q >= 0:
                continue
            hit = p + side_p / (side_p - side_q) * (q - p) - a
            s = (vv * (hit @ u) - uv * (hit @ v)) / area
            r = (uu * (hit @ v) - uv * (hit @ u)) / area
            if s >= 0 and r >= 0 and s + r <= 1:
                found += 1
    return found


def edges_of(triangles: NDArray) -> NDArray:
    return np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)


def crossing(vertices: NDArray, one: NDArray, other: NDArray) -> int:
    points = np.ascontiguousarray(vertices, np.float64)
    return int(crossings(points, edges_of(one), other) + crossings(points, edges_of(other), one))


def mouth_skin() -> NDArray[np.int32]:
    skin = part("skin")
    centre = MODEL.template[skin].mean(axis=1)
    return skin[np.linalg.norm(centre - [0, -0.047, 0.045], axis=1) < 0.045]


@pytest.mark.parametrize("name", ARKIT_NAMES)
def test_teeth_stay_behind_the_lips(name: str) -> None:
    weights = {name: 1.0} | ({"jawOpen": 1.0} if name == "mouthClose" else {})
    vertices = posed(**weights)
    assert crossing(vertices, part("upper_teeth", "lower_teeth"), mouth_skin()) == 0
    if name != "tongueOut":
        assert crossing(vertices, part("tongue"), mouth_skin()) == 0


def test_teeth_stay_behind_the_lips_of_everybody() -> None:
    for state in people(10):
        for jaw in (0.0, 0.5):
            assert crossing(posed(state, jawOpen=jaw), part("teeth"), mouth_skin()) == 0


def test_rows_of_teeth_and_tongue_do_not_cross_at_rest() -> None:
    assert crossing(posed(), part("upper_teeth"), part("lower_teeth")) == 0
    assert crossing(posed(), part("tongue"), part("teeth")) == 0


def lip_halves() -> tuple[NDArray, NDArray]:
    centre = MODEL.template[mouth_skin()].mean(axis=1)
    points = MODEL.landmarks["ibug68"].interpolate(MODEL.triangles, MODEL.template.astype(float))
    order = points[[48, 60, 61, 62, 63, 64, 54]]
    line = np.interp(centre[:, 0], order[:, 0], order[:, 1])
    return mouth_skin()[centre[:, 1] > line], mouth_skin()[centre[:, 1] <= line]


def test_lips_are_closed_and_do_not_cross() -> None:
    upper, lower = lip_halves()
    counts = [crossing(posed(state), upper, lower) for state in [NEUTRAL, *people(10)]]
    assert counts[0] == 0
    assert np.median(counts) == 0
    cavity = np.isin(MODEL.triangles, MODEL.vertex_groups["mouth_cavity"]).all(axis=1)
    cavity |= np.isin(MODEL.triangles, MODEL.vertex_groups["teeth"]).all(axis=1)
    centre = np.array([0, -0.047, 0.05])
    for state in [NEUTRAL, *people(10)]:
        assert visible_pixels(posed(state), cavity, centre, 0) < 30


def test_mouth_close_shuts_an_open_jaw() -> None:
    points = MODEL.landmarks["ibug68"]
    open_mouth, shut = (
        points.interpolate(MODEL.triangles, posed(jawOpen=1.0, mouthClose=close))
        for close in (0.0, 1.0)
    )
    assert np.linalg.norm(open_mouth[62] - open_mouth[66]) > 0.02
    assert np.linalg.norm(shut[62] - shut[66]) < 0.003


@pytest.mark.slow
@pytest.mark.network
def test_the_builder_makes_the_same_head_again(tmp_path: Path) -> None:
    tool = Path(__file__).parents[2] / "tools" / "build_head.py"
    subprocess.run([sys.executable, tool, "--out", tmp_path / "head.npz"], check=True)
    again, here = read_head(tmp_path / "head.npz").fields(), MODEL.fields()
    ours = {name for name in here if not name.startswith("landmarks/mediapipe")}
    assert ours == set(again)
    for name in ours:
        if here[name].dtype.kind == "f":
            np.testing.assert_allclose(again[name], here[name], atol=1e-5, err_msg=name)
        elif name != "atlas_hash":
            np.testing.assert_array_equal(again[name], here[name], err_msg=name)
