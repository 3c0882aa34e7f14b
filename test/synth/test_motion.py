"""Synthetic motion: bounded, smooth, repeatable, and like a face."""

from __future__ import annotations

import numpy as np
import pytest

from flowface_ros.head.blendshapes import ARKIT_NAMES
from flowface_ros.rigid import rotation_from_rotvec
from flowface_ros.synth.scene.curves import Pulses, event_times, sample_waves, smootherstep
from flowface_ros.synth.scene.expressions import (
    CONSONANTS,
    EXPRESSIONS,
    VOWELS,
    ExpressionCurves,
    ExpressionStyle,
    target_vector,
)
from flowface_ros.synth.scene.gaze import GazePath, eye_rotation, sample_gaze
from flowface_ros.synth.scene.motion import facing_rotation, sample_path

SEEDS = range(6)
STEP_S = 1e-3


def curves(seed: int, duration_s: float = 20.0, **style: float) -> ExpressionCurves:
    return ExpressionCurves(
        np.random.default_rng(seed), duration_s, ExpressionStyle(**style) if style else None
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_weights_are_bounded_and_smooth(seed: int) -> None:
    t = np.arange(0.0, 20.0, STEP_S)
    weights = curves(seed).weights(t)
    assert weights.shape == (len(t), len(ARKIT_NAMES))
    assert weights.min() >= 0.0
    assert weights.max() <= 1.0
    # The fastest ramp there is: lids that close in 40 ms, a quintic's slope is 15/8 of its mean
    # and its curvature 10/sqrt(3).
    velocity = np.diff(weights, axis=0) / STEP_S
    acceleration = np.diff(velocity, axis=0) / STEP_S
    assert np.abs(velocity).max() < 1.2 * 1.875 / 0.04
    assert np.abs(acceleration).max() < 1.2 * 5.774 / 0.04**2


def test_second_derivative_has_no_jumps() -> None:
    curve = curves(3)
    t = np.arange(0.0, 6.0, 2e-4)
    acceleration = np.diff(curve.weights(t), 2, axis=0) / 2e-4**2
    jerk = np.abs(np.diff(acceleration, axis=0)) / 2e-4
    # A quintic of 40 ms has a jerk of at most 60 / T^3; a jump would show as 1 / step.
    assert jerk.max() < 2.0 * 60 / 0.04**3


def test_scalar_time_equals_array_of_times() -> None:
    curve, t = curves(1), np.linspace(0, 5, 7)
    np.testing.assert_allclose(
        curve.weights(t), np.stack([curve.weights(float(x)) for x in t]), atol=1e-12
    )


def test_equal_seeds_give_equal_curves_and_others_differ() -> None:
    t = np.linspace(0, 4, 50)
    np.testing.assert_array_equal(curves(5).weights(t), curves(5).weights(t))
    assert np.abs(curves(5).weights(t) - curves(6).weights(t)).max() > 0.2


def test_mouth_opens_at_syllable_rate() -> None:
    t = np.arange(0.0, 60.0, 0.01)
    jaw = curves(2, 60.0, syllable_rate_hz=4.0).weights(t)[:, ARKIT_NAMES.index("jawOpen")]
    power = np.abs(np.fft.rfft(jaw - jaw.mean())) ** 2
    frequency = np.fft.rfftfreq(len(t), 0.01)
    fast = power[(frequency > 2.5) & (frequency < 5.5)].sum()
    assert fast > 0.2 * power.sum()
    assert power[frequency > 12.0].sum() < 0.02 * power.sum()
    assert jaw.max() > 0.3
    assert jaw.min() < 0.05


def test_blinks_come_at_their_rate_and_close_both_eyes_for_100_to_150_ms() -> None:
    curve = curves(0, 60.0, expression_gap_s=1e6, blinks_per_minute=15.0)
    t = np.arange(0.0, 60.0, 0.0025)
    weights = curve.weights(t)
    left, right = (weights[:, ARKIT_NAMES.index(f"eyeBlink{s}")] for s in ("Left", "Right"))
    np.testing.assert_array_equal(left, right)
    closing = np.flatnonzero((left[1:] > 0.5) & (left[:-1] <= 0.5))
    assert 10 <= len(closing) <= 20
    for start in curve.blink_times[:10]:
        active = (t > start - 0.01) & (t < start + 0.2) & (left > 1e-4)
        assert 0.08 < active.sum() * 0.0025 <= 0.15
        assert left[active].max() > 0.99


def test_lips_never_close_further_than_the_jaw_opened() -> None:
    weights = curves(4, 60.0, syllable_rate_hz=4.0).weights(np.arange(0, 60, 0.01))
    close, jaw = (weights[:, ARKIT_NAMES.index(n)] for n in ("mouthClose", "jawOpen"))
    assert (close <= jaw + 1e-9).all()
    assert close.max() > 0.01


@pytest.mark.parametrize("table", [VOWELS, CONSONANTS, EXPRESSIONS])
def test_tables_name_known_blendshapes(table: dict[str, dict[str, float]]) -> None:
    for targets in table.values():
        assert np.count_nonzero(target_vector(targets)) >= len(targets)


def test_silent_face_does_not_speak() -> None:
    style = ExpressionStyle(talks=False, expression_gap_s=1e6)
    weights = ExpressionCurves(np.random.default_rng(0), 10.0, style).weights(
        np.linspace(0, 10, 99)
    )
    assert weights[:, ARKIT_NAMES.index("jawOpen")].max() < 0.25


def test_pulse_rises_holds_and_falls() -> None:
    one = np.ones(1)
    pulse = Pulses(one, 0.2 * one, 0.5 * one, 0.4 * one)
    heights = pulse.values([1.0, 1.1, 1.2, 1.6, 1.9, 2.1])[:, 0]
    np.testing.assert_allclose(heights, [0, 0.5, 1, 1, 0.5, 0], atol=1e-12)


def test_waves_have_their_rms_and_band() -> None:
    waves = sample_waves(np.random.default_rng(0), [0.1, 2.0], (0.2, 1.0))
    t = np.arange(0, 500, 0.05)
    values = waves.values(t)
    np.testing.assert_allclose(values.std(axis=0), [0.1, 2.0], rtol=0.1)
    frequency = np.fft.rfftfreq(len(t), 0.05)
    power = np.abs(np.fft.rfft(values * np.hanning(len(t))[:, None], axis=0)) ** 2
    assert power[frequency > 1.1].sum() < 1e-4 * power.sum()


def test_events_keep_their_distance() -> None:
    times = event_times(np.random.default_rng(0), 0.0, 200.0, 1.0, 0.4)
    assert np.diff(times).min() >= 0.4
    assert 150 < len(times) < 260


def test_saccade_durations_follow_the_main_sequence() -> None:
    points = [[0, 0, 1], [np.tan(np.radians(10)), 0, 1], [0, 0, 1]]
    path = GazePath(points, [1.0, 2.0], [0, 0, 0])
    np.testing.assert_allclose(path.durations, 0.021 + 0.022, atol=1e-9)
    np.testing.assert_allclose(path.target([0.5, 1.0 + 0.043, 3.0]), points, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_eye_looks_at_its_target(seed: int) -> None:
    rng = np.random.default_rng(seed)
    eye, rotation = rng.normal(size=3), rotation_from_rotvec(rng.normal(size=3))
    target = eye + rotation @ [0.05, -0.04, 1.0]
    wide = np.tile([-np.pi, np.pi], (3, 1)) * 100
    rotvec = eye_rotation(eye, rotation, target, wide)
    looked = rotation @ rotation_from_rotvec(rotvec) @ [0, 0, 1]
    expected = (target - eye) / np.linalg.norm(target - eye)
    np.testing.assert_allclose(looked, expected, atol=1e-5)
    assert rotvec[2] == 0.0


def test_eye_stays_within_bounds_when_the_target_is_behind() -> None:
    bounds = np.radians([[-25, 20], [-35, 30], [-1, 1]])
    for target in ([1.0, 0.1, -1.0], [-1.0, 2.0, 0.1], [0.0, -5.0, 0.01]):
        rotvec = eye_rotation(np.zeros(3), np.eye(3), target, bounds)
        assert (rotvec >= bounds[:, 0]).all()
        assert (rotvec <= bounds[:, 1]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_head_path_is_bounded_and_smooth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    place, forward = np.array([0.8, 0.0, 0.0]), np.array([-1.0, 0, 0])
    gaze = sample_gaze(rng, 10.0, place, [[0, 0.2, 0]], forward)
    path = sample_path(rng, place, forward, gaze)
    t = np.arange(0, 10, 0.005)
    degrees = np.degrees(path.euler(t))
    assert (np.ptp(degrees, axis=0) > [6, 15, 3]).all()
    assert (np.abs(degrees).max(axis=0) <= [25, 50, 18]).all()
    assert np.abs(path.translation(t) - place).max() <= 0.07
    assert np.abs(np.diff(degrees, axis=0) / 0.005).max() < 300
    assert np.abs(np.diff(path.translation(t), axis=0) / 0.005).max() < 0.5


def test_neck_and_root_share_one_rotation() -> None:
    rng = np.random.default_rng(0)
    place, forward = np.array([0.8, 0.0, 0.0]), np.array([-1.0, 0, 0])
    path = sample_path(rng, place, forward, sample_gaze(rng, 4.0, place, [[0, 0, 0]], forward))
    bounds = np.tile(np.radians([-20.0, 20.0]), (3, 1))
    for t in np.linspace(0, 4, 9):
        root, neck = path.rotations(float(t), bounds)
        assert (np.abs(neck) <= np.radians(20)).all()
        total = rotation_from_rotvec(root) @ rotation_from_rotvec(neck)
        wanted = path.upright @ rotation_from_rotvec(path.euler(float(t)))
        angle = np.arccos(np.clip((np.trace(total.T @ wanted) - 1) / 2, -1, 1))
        assert angle < np.radians(5)


def test_facing_rotation_is_upright() -> None:
    rotation = facing_rotation([-1.0, 0.0, 0.0])
    np.testing.assert_allclose(rotation @ [0, 0, 1], [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation @ [1, 0, 0], [0, -1, 0], atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_smootherstep_has_flat_ends() -> None:
    x = np.array([-1.0, 0.0, 1e-4, 0.5, 1 - 1e-4, 1.0, 2.0])
    np.testing.assert_allclose(smootherstep(x), [0, 0, 0, 0.5, 1, 1, 1], atol=1e-10)
