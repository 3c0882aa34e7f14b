from __future__ import annotations

import numpy as np
import pytest

from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.train.metrics import AlignmentMetrics, format_figures
from flowface_ros.train.regions import REGIONS, texel_regions


def test_figures_of_a_known_error() -> None:
    regions = np.array([REGIONS.index("lips"), REGIONS.index("face"), REGIONS.index("scalp")])
    metrics = AlignmentMetrics(regions, 256)
    truth = np.array([[[10.0, 10], [20, 20], [30, 30]], [[300.0, 10], [50, 50], [60, 60]]])
    answer = truth + np.array([3.0, 4.0])
    visible = np.array([[True, False, True], [False, True, True]])
    metrics.add(answer, np.log(np.full((2, 3), 5.0)), truth, visible, np.array([50.0, 100.0]))
    figures = metrics.figures()
    assert figures["lips"]["mean_iod_percent"] == pytest.approx(10)
    assert figures["visible"]["mean_iod_percent"] == pytest.approx((10 + 5) / 2)
    assert figures["visible"]["points"] == 2  # the scalp is not the face's skin
    assert figures["visible_all"]["points"] == 4
    assert figures["hidden"]["points"] == 1  # the other one is outside of the crop
    assert figures["visible"]["sigma_rms"] == pytest.approx(np.sqrt(0.5))
    assert "lips" in format_figures(figures)


def test_honest_sigma_has_rms_one() -> None:
    rng = np.random.default_rng(0)
    truth = np.full((40, 500, 2), 128.0)
    sigma = rng.uniform(0.5, 4, (40, 500))
    answer = truth + sigma[..., None] * rng.standard_normal(truth.shape)
    metrics = AlignmentMetrics(np.full(500, 4), 256)
    metrics.add(answer, np.log(sigma), truth, np.ones((40, 500), bool), np.full(40, 80.0))
    assert metrics.figures()["visible"]["sigma_rms"] == pytest.approx(1, abs=0.02)


def test_regions_of_the_built_in_head() -> None:
    regions = texel_regions(load_builtin_head(), 48)
    share = {name: np.mean(regions == k) for k, name in enumerate(REGIONS)}
    assert min(share.values()) > 0.005 and share["face"] > 0.15
