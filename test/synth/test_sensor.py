"""Image formation: brightness, noise, vignetting, stamps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowface_ros.synth.scene.sensor import (
    Sensor,
    automatic_exposure,
    jittered_stamps_ns,
    sample_sensor,
)

GREY = np.full((40, 60, 3), 0.18, np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def linear(image: np.ndarray) -> np.ndarray:
    value = image / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def test_ideal_sensor_encodes_srgb() -> None:
    image = Sensor().develop(GREY, rng())
    assert image.dtype == np.uint8
    assert image.shape == GREY.shape
    # 18 % grey is 118 in sRGB, and noise of 1e9 electrons is nothing.
    assert set(np.unique(image)) <= {117, 118, 119}


def test_highlights_roll_off_without_wrapping() -> None:
    ramp = np.repeat(np.linspace(0, 8, 200, dtype=np.float32)[None, :, None], 3, axis=2)
    values = Sensor().develop(ramp, rng())[0, :, 0].astype(int)
    assert (np.diff(values) >= 0).all()
    assert values[-1] == values.max() > 245


def test_exposure_and_white_balance_scale_light() -> None:
    image = Sensor(exposure=2.0, white_balance=(1.2, 1.0, 0.5)).develop(GREY, rng())
    np.testing.assert_allclose(linear(image).mean(axis=(0, 1)), [0.432, 0.36, 0.18], rtol=0.02)


def test_noise_has_the_shot_and_read_variance() -> None:
    sensor = Sensor(electrons=2000.0, read_noise=0.004)
    image = linear(sensor.develop(np.full((300, 300, 3), 0.18, np.float32), rng()))
    wanted = np.sqrt(0.18 / 2000.0 + 0.004**2)
    assert image.std() == pytest.approx(wanted, rel=0.05)
    assert image.mean() == pytest.approx(0.18, rel=0.01)


def test_corners_lose_light() -> None:
    image = linear(Sensor(vignetting=0.3).develop(np.full((61, 81, 3), 0.18, np.float32), rng()))
    assert image[30, 40, 1] == pytest.approx(0.18, rel=0.03)
    assert image[0, 0, 1] == pytest.approx(0.7 * 0.18, rel=0.03)


def test_defocus_keeps_light_and_spreads_it() -> None:
    dot = np.zeros((41, 41, 3), np.float32)
    dot[20, 20] = 1.0
    image = linear(Sensor(defocus_px=2.0, exposure=4.0).develop(dot, rng()))[..., 1]
    assert image.argmax() == 20 * 41 + 20
    assert image[20, 20] == pytest.approx(4 / (2 * np.pi * 2.0**2), rel=0.05)


def test_grey_saturation_gives_grey() -> None:
    red = np.broadcast_to(np.array([0.5, 0.1, 0.1], np.float32), (4, 4, 3))
    image = Sensor(saturation=0.0).develop(red, rng()).astype(int)
    assert np.ptp(image, axis=-1).max() <= 1


def test_develop_is_repeatable_and_leaves_its_input() -> None:
    sensor = replace(sample_sensor(rng(), 640), electrons=2000.0)
    light = GREY.copy()
    np.testing.assert_array_equal(sensor.develop(light, rng()), sensor.develop(light, rng()))
    np.testing.assert_array_equal(light, GREY)


def test_stamps_are_jittered_and_in_order() -> None:
    stamps = jittered_stamps_ns(rng(), 120, 30.0, 0.003, 1_000)
    regular = 1_000 + (0.003 + np.arange(120) / 30) * 1e9
    assert stamps.dtype == np.int64
    assert np.abs(stamps - regular).max() <= 0.003e9 + 1
    assert np.abs(stamps - regular).max() > 0.001e9
    assert (np.diff(stamps) > 0).all()
    assert stamps[0] >= 1_000


def test_jitter_that_swaps_images_is_refused() -> None:
    with pytest.raises(ValueError, match="stamp jitter"):
        jittered_stamps_ns(rng(), 10, 30.0, 0.017, 0)


def test_automatic_exposure_brightens_the_dark_and_has_limits() -> None:
    assert automatic_exposure(np.full((8, 8, 3), 0.2, np.float32)) == pytest.approx(1.0)
    dark = automatic_exposure(np.full((8, 8, 3), 0.1, np.float32))
    assert 1.4 < dark < 2.0
    assert automatic_exposure(np.zeros((8, 8, 3), np.float32)) == 4.0
    assert automatic_exposure(np.full((8, 8, 3), 50.0, np.float32)) == 0.5
