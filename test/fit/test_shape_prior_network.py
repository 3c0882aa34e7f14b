"""What the proportions in a view tell of a shape: features, the shipped network, several views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flowface_ros import rigid
from flowface_ros.align.aligner import LIGHT_NETWORK
from flowface_ros.align.landmark_errors import query_points
from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.shape_prior import NetworkShapePrior, UnitShapePrior, make_shape_prior
from flowface_ros.fit.shape_prior_features import FEATURES, RESIDUALS, TOWARD, ShapeFeatures
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.head.surface import SurfacePoints

FACING = np.array([np.pi, 0.0, 0.0])
"""Rotation of an upright head that looks into the camera."""


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_builtin_head()


@pytest.fixture(scope="module")
def points(model: HeadModel) -> SurfacePoints:
    everything = query_points(model, texel_grid(model, 48))
    return everything[np.linspace(0, len(everything) - 1, 400).round().astype(int)]


def camera(name: str = "c", turn: tuple[float, float, float] = (0, 0, 0)) -> Camera:
    K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
    pose = rigid.transform(rigid.rotation_from_rotvec(turn), np.zeros(3))
    return Camera(name, 640, 480, K, rig_from_camera=pose)


def head(model: HeadModel, seed: int | None = None, distance: float = 0.8) -> HeadState:
    state = replace(
        neutral_state(model), rotation=FACING, translation=np.array([0.0, 0.0, distance])
    )
    if seed is None:
        return state
    return replace(state, shape=np.random.default_rng(seed).normal(0, 0.8, model.shape_count))


def seen(model: HeadModel, points: SurfacePoints, state: HeadState, by: Camera) -> Observation:
    places = SurfaceEvaluator(model, points).positions(state)
    pixels, _ = by.project(rigid.apply(by.camera_from_rig, places))
    return Observation(points, pixels, np.ones(len(points)), by.name, 0)


def test_the_mean_head_from_afar_has_no_residual(model: HeadModel, points: SurfacePoints) -> None:
    far = seen(model, points, head(model, distance=30.0), camera())
    found = ShapeFeatures(model).of(far, camera())
    assert found is not None and found.shape == (FEATURES,) and found.dtype == np.float32
    assert np.abs(found[:RESIDUALS]).max() < 1e-3
    np.testing.assert_allclose(found[TOWARD], 0, atol=0.02)


def test_features_do_not_depend_on_where_in_the_picture_and_how_rolled(
    model: HeadModel, points: SurfacePoints
) -> None:
    features, state = ShapeFeatures(model), head(model, 1)
    straight = features.of(seen(model, points, state, camera()), camera())
    for turn in ((0.2, 0.1, 0.0), (0.0, 0.0, 0.4), (-0.1, 0.15, -0.3)):
        other = camera("c", turn)
        found = features.of(seen(model, points, state, other), other)
        np.testing.assert_allclose(found, straight, atol=2e-4)
    nearer = features.of(seen(model, points, head(model, 1, 0.4), camera()), camera())
    assert np.abs(nearer[:RESIDUALS] - straight[:RESIDUALS]).max() > 2e-4  # perspective
    assert nearer[TOWARD.stop] - straight[TOWARD.stop] == pytest.approx(np.log(2), abs=0.1)


def test_what_shows_no_face_has_no_features(model: HeadModel, points: SurfacePoints) -> None:
    features = ShapeFeatures(model)
    behind = replace(head(model), rotation=np.zeros(3))
    assert features.of(seen(model, points, behind, camera()), camera()) is None
    few = seen(model, points, head(model), camera())[np.arange(40)]
    assert features.of(few, camera()) is None
    lost = seen(model, points, head(model), camera())
    assert features.of(replace(lost, pixels=np.full_like(lost.pixels, 1.0)), camera()) is None


def test_the_shipped_network_knows_which_way_a_head_differs(
    model: HeadModel, points: SurfacePoints
) -> None:
    network, rig = NetworkShapePrior(model), Rig((camera(),))
    truth, told = [], []
    for seed in range(40):
        state = head(model, seed)
        belief = network.belief([seen(model, points, state, camera())], rig)
        assert np.sqrt((belief.mean**2).mean()) < 1.0
        truth.append(state.shape)
        told.append(belief.mean)
    basis = model.shape_basis[model.vertex_groups["face"]].astype(np.float64)
    is_so, as_told = (np.array(shapes) @ basis.reshape(-1, model.shape_count).T
                      for shapes in (truth, told))  # fmt: skip
    assert np.corrcoef(is_so.ravel(), as_told.ravel())[0, 1] > 0.3


def test_views_of_one_person_share_their_errors(model: HeadModel, points: SurfacePoints) -> None:
    cameras = tuple(camera(f"c{i}", (0.02 * i, 0.0, 0.0)) for i in range(12))
    rig, network = Rig(cameras), NetworkShapePrior(model)
    views = [seen(model, points, head(model, 5), c) for c in cameras]
    one, three, many = (network.belief(views[:n], rig) for n in (1, 3, 12))
    gained = [np.diag(b.information) - 1 for b in (one, three, many)]
    assert (gained[0] >= 0).all() and (gained[1] >= gained[0] - 1e-9).all()
    assert gained[1].sum() < 3 * gained[0].sum()
    assert gained[2].sum() < 12 * gained[0].sum()
    # A synthetic variance of 0.64 and real people's 1 leave a spread that is stated as wider.
    assert np.diag(many.covariance).max() <= 1
    np.testing.assert_allclose(one.covariance @ one.information, np.eye(model.shape_count))


def test_views_of_unknown_cameras_are_refused(model: HeadModel, points: SurfacePoints) -> None:
    view = replace(seen(model, points, head(model), camera()), camera="attic")
    with pytest.raises(ValueError, match="'attic'"):
        NetworkShapePrior(model).belief([view], Rig((camera(),)))


def test_nothing_seen_says_nothing(model: HeadModel, points: SurfacePoints) -> None:
    rig = Rig((camera(),))
    behind = seen(model, points, replace(head(model), rotation=np.zeros(3)), camera())
    for prior in (NetworkShapePrior(model), UnitShapePrior(model)):
        for observations in ([], [behind]):
            belief = prior.belief(observations, rig)
            np.testing.assert_array_equal(belief.mean, 0)
            np.testing.assert_array_equal(belief.information, np.eye(model.shape_count))


def test_unsuitable_heads_files_and_names(model: HeadModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not of 'other'"):
        NetworkShapePrior(replace(model, name="other"))
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"bad\.onnx"):
        NetworkShapePrior(model, tmp_path / "bad.onnx")
    with pytest.raises(ValueError, match=r"to \['shape'"):
        NetworkShapePrior(model, LIGHT_NETWORK)
    with pytest.raises(ValueError, match="'magic', allowed are 'none', 'network'"):
        make_shape_prior("magic", model)
