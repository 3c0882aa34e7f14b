from __future__ import annotations

import numpy as np
import pytest
import torch

from flowface_ros.align.network.config import NetworkConfig
from flowface_ros.align.network.constants import blank_constants
from flowface_ros.align.network.flow_network import FlowNetwork
from flowface_ros.train.calibrate import calibrate, calibration
from flowface_ros.train.regions import REGIONS

torch.set_num_threads(1)


def test_residuals_of_each_region_get_an_rms_of_one() -> None:
    rng = np.random.default_rng(0)
    regions = np.arange(60) % len(REGIONS)
    true_sigma = np.where(regions == 1, 4.0, 0.5)
    truth = np.zeros((100, 60, 2))
    answer = rng.normal(size=truth.shape) * true_sigma[:, None]
    visible = rng.random((100, 60)) < 0.5
    answer[~visible] = 1e3  # hidden points do not count
    change = calibration(regions, answer, np.zeros((100, 60)), truth, visible)
    np.testing.assert_allclose(np.exp(change), np.clip(true_sigma, 0.3, 4.4), rtol=0.1)


def test_what_is_seen_too_rarely_stays() -> None:
    regions = np.zeros(10, int)
    few = np.zeros((2, 10), bool)
    few[0] = True
    change = calibration(
        regions, np.ones((2, 10, 2)) * 9, np.zeros((2, 10)), np.zeros((2, 10, 2)), few
    )
    assert (change == 0).all()


def test_network_takes_the_change() -> None:
    config = NetworkConfig(
        crop_px=64, grid=8, encoder="mit_b0", feature_channels=8, coarse_channels=8,
        texture_channels=4, uv_channels=8, hidden_channels=8, motion_channels=8,
        heatmap_channels=8, first_flow="heatmap",
    )  # fmt: skip
    network = FlowNetwork(config, blank_constants(config)).eval()
    image = torch.rand(1, 3, 64, 64)
    change = np.linspace(-0.5, 0.5, 64).astype(np.float32)
    before = network(image).log_sigma[-1].detach()
    calibrate(network, change)
    after = network(image)
    torch.testing.assert_close(after.log_sigma[-1], before + torch.from_numpy(change))
    fine = NetworkConfig(**{**config.__dict__, "upsample": 2})
    with pytest.raises(ValueError, match="upsample is 2"):
        calibrate(FlowNetwork(fine, blank_constants(fine)), change)
