from __future__ import annotations

import numpy as np
import pytest

from flowface_ros.align.embedding import landmark_points
from flowface_ros.align.network.config import preset
from flowface_ros.align.network.head_constants import frontal_positions, head_constants
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model_file import load_builtin_head


def test_frontal_face_fills_its_share_of_the_crop() -> None:
    model = load_builtin_head()
    grid = texel_grid(model, 48)
    places = frontal_positions(model, 48)
    face = np.isin(model.triangles[grid.points.triangle], model.vertex_groups["face"]).all(axis=1)
    extent = np.ptp(places[face], axis=0).max()
    assert extent == pytest.approx(1 / 1.5, abs=0.05)
    np.testing.assert_allclose(
        places[face].min(0) + np.ptp(places[face], axis=0) / 2, 0.5, atol=0.05
    )


def test_subjects_left_is_right_in_the_image_and_up_is_up() -> None:
    model = load_builtin_head()
    places = frontal_positions(model, 48)
    head = texel_grid(model, 48).points.interpolate(model.triangles, model.template)
    assert np.corrcoef(places[:, 0], head[:, 0])[0, 1] == pytest.approx(1.0)
    assert np.corrcoef(places[:, 1], head[:, 1])[0, 1] == pytest.approx(-1.0)


def test_constants_fit_their_config() -> None:
    model = load_builtin_head()
    config = preset("base", upsample=2)
    constants = head_constants(config, model)
    assert constants.atlas_hash == model.atlas_hash
    assert constants.valid.shape == (64, 64)
    assert constants.output_valid.shape == (128, 128)
    assert constants.landmarks is None


def test_constants_of_the_light_network() -> None:
    model = load_builtin_head()
    landmarks = head_constants(preset("light"), model).landmarks
    assert landmarks is not None
    np.testing.assert_allclose(landmarks.matrix.sum(axis=1), 1, atol=1e-3)
    assert landmarks.skin_share.sum() == pytest.approx(1, abs=1e-5)
    # The solve finds the head's axes in a view of the mean head from in front.
    head = landmark_points(model).interpolate(model.triangles, model.template)
    seen = 900 * head[:, :2] * [1, -1] + 128
    np.testing.assert_allclose(landmarks.pose_solve @ seen, [[900, 0], [0, -900], [0, 0]], atol=0.5)
