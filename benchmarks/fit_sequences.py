"""The figures of the fit's benchmark that need several frames: extrinsics, motion, identity."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fit_scenes import Noise, Subject, arc_rig, errors, known_shape, observe, sample_head, turned

from flowface_ros.camera.rig import Rig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.health import RigHealth, RigHealthReport
from flowface_ros.fit.identity import IdentityEstimator
from flowface_ros.fit.motion import MotionFilter
from flowface_ros.fit.priors import ShapeBelief
from flowface_ros.head.evaluator import vertex_evaluator
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.synth.scene.motion import PersonMotion, sample_motion
from flowface_ros.synth.scene.rigs import sample_rig

FRAMES_PER_CHECK = 3
"""Frames that the health test of a rig is given."""
TRUST = (np.radians(1.0), 5e-3)
"""Prior standard deviations (rad, m) of the extrinsics' refinement."""
RATE = 30.0
"""Frames per second of the sequence."""

Progress = Callable[[Any], Iterable]


def health(subject: Subject, rigs: int, progress: Progress) -> dict:
    """5a. One camera turned by a degree: named? And good rigs: a false alarm?"""
    named, alarms = 0, 0
    for seed in progress(range(rigs)):
        rng = np.random.default_rng(seed)
        rig = arc_rig(int(rng.integers(3, 7)), rng)
        victim = rig.names[int(rng.integers(len(rig)))]
        believed = turned(rig, {victim: 1.0}, rng)
        named += _check(subject, rig, believed, rng)[0].suspect == victim
        good, _, _ = _check(subject, rig, rig, rng)
        alarms += bool(good.suspect) or good.ambiguous
    return {"rigs": rigs, "named": named, "false_alarms": alarms}


def calibration(subject: Subject, rigs: int, progress: Progress) -> list[dict]:
    """5b. Error of the head against the error of all cameras' rotations, 4 views."""
    rows = []
    for degrees in (0.0, 0.1, 0.25, 0.5, 1.0, 2.0):
        as_is: list[float] = []
        refined: list[float] = []
        for seed in progress(range(rigs)):
            rng = np.random.default_rng(seed)
            rig = arc_rig(4, rng)
            believed = turned(rig, dict.fromkeys(rig.names, degrees), rng)
            _, checker, found = _check(subject, rig, believed, rng)
            better = checker.refined(believed, *TRUST)
            again = RigHealth(better)
            fitter = FrameFitter(subject.model, better)
            for _, seen in found:
                again.add(fitter, seen, fitter.fit(seen))
            better = again.refined(better, *TRUST)
            # The cameras' common motion cannot be seen: compare in the true rig's frame.
            for cameras, into in ((believed, as_is), (better, refined)):
                fitter = FrameFitter(subject.model, cameras)
                for truth, seen in found:
                    result = fitter.fit(seen)
                    into.append(_in_true_frame(subject, rig, cameras, truth, result.state))
        rows.append(
            {
                "rotation_error_deg": degrees,
                "vertex_mm": float(np.sqrt(np.mean(np.square(as_is)))),
                "refined_vertex_mm": float(np.sqrt(np.mean(np.square(refined)))),
            }
        )
    return rows


@dataclass(frozen=True)
class Track:
    """States of a sequence as they are and as they were found, without and with the prior."""

    truth: list[HeadState]
    alone: list[HeadState]
    filtered: list[HeadState]


def sequence(subject: Subject, frames: int, views: int, progress: Progress) -> tuple[dict, Track]:
    """6a. A talking, blinking head at 30 Hz: jitter and lag without and with the motion prior."""
    rng = np.random.default_rng(3)
    rig, motion = _person(subject, views, rng, frames / RATE)
    fitter = FrameFitter(subject.model, rig)
    truth = [motion.state(i / RATE) for i in range(frames)]
    belief = known_shape(truth[0].shape)
    seen = [observe(subject, state, rig, Noise(), rng) for state in truth]
    alone, filtered = [], []
    last, filter_ = truth[0], MotionFilter(subject.model)
    for i in progress(range(frames)):
        last = fitter.fit(seen[i], start=last, shape=belief, solve_shape=False).state
        alone.append(last)
        stamp = round(i / RATE * 1e9)
        prior = filter_.predict(stamp)
        start = None if prior else alone[-1]
        result = fitter.fit(seen[i], prior, start=start, shape=belief, solve_shape=False)
        filter_.update(stamp, result)
        filtered.append(result.state)
    track = Track(truth, alone, filtered)
    row: dict[str, Any] = {"views": views, "frames": frames}
    for name, found in (("alone", alone), ("prior", filtered)):
        row |= {f"{name}_{k}": v for k, v in _motion_figures(subject, truth, found).items()}
    return row, track


def identity(subject: Subject, people: int, frames: int, progress: Progress) -> list[dict]:
    """6b. Error of the neutral shape after each keyframe, one view."""
    curves, predicted = [], []
    for seed in progress(range(people)):
        rng = np.random.default_rng(seed)
        rig = arc_rig(1)
        fitter, estimator = FrameFitter(subject.model, rig), IdentityEstimator(subject.model)
        shape = rng.normal(size=subject.model.shape_count)
        curve = [_shape_error(subject, shape, estimator.belief.mean)]
        expected = [_expected_shape_error(subject, estimator.belief)]
        while len(curve) <= frames:
            truth = sample_head(subject.model, rng, 60.0, shape=shape)
            seen = observe(subject, truth, rig, Noise(), rng)
            result = fitter.fit(seen, start=truth, shape=estimator.belief, solve_shape=True)
            if estimator.add(seen, rig, result):
                curve.append(_shape_error(subject, shape, estimator.belief.mean))
                expected.append(_expected_shape_error(subject, estimator.belief))
        curves.append(curve)
        predicted.append(expected)
    found = np.sqrt(np.mean(np.square(curves), axis=0))
    stated = np.sqrt(np.mean(np.square(predicted), axis=0))
    return [
        {"keyframes": k, "shape_error_mm": float(a), "stated_mm": float(b)}
        for k, (a, b) in enumerate(zip(found, stated, strict=True))
    ]


def _check(
    subject: Subject, rig: Rig, believed: Rig, rng: np.random.Generator
) -> tuple[RigHealthReport, RigHealth, list]:
    fitter, checker, found = FrameFitter(subject.model, believed), RigHealth(believed), []
    shape = rng.normal(size=subject.model.shape_count)
    for _ in range(FRAMES_PER_CHECK):
        truth = sample_head(subject.model, rng, 45.0, shape=shape)
        seen = observe(subject, truth, rig, Noise(), rng)
        checker.add(fitter, seen, fitter.fit(seen))
        found.append((truth, seen))
    return checker.report(), checker, found


def _in_true_frame(
    subject: Subject, rig: Rig, believed: Rig, truth: HeadState, found: HeadState
) -> float:
    """Mean distance (mm) of skin points, after the motion that takes the believed cameras to the
    true ones in the mean: a common motion of all cameras is no error."""
    skin = vertex_evaluator(subject.model)
    a, b = skin.positions(truth)[subject.skin], skin.positions(found)[subject.skin]
    frames = [c.rig_from_camera @ believed[c.name].camera_from_rig for c in rig]
    b = np.mean([b @ f[:3, :3].T + f[:3, 3] for f in frames], axis=0)
    return 1e3 * float(np.linalg.norm(a - b, axis=1).mean())


def _person(
    subject: Subject, views: int, rng: np.random.Generator, seconds: float
) -> tuple[Rig, PersonMotion]:
    rig = sample_rig(rng, views, (640, 480), 0.8).at(0.0)
    shape = rng.normal(size=subject.model.shape_count)
    cameras = np.array([camera.rig_from_camera[:3, 3] for camera in rig])
    place = np.array([0.8, 0.0, 0.0])
    return rig, sample_motion(subject.model, shape, rng, seconds, place, cameras)


def _motion_figures(subject: Subject, truth: list[HeadState], found: list[HeadState]) -> dict:
    """Errors, jitter (rms second difference of the error, mm) and lag (ms)."""
    skin = vertex_evaluator(subject.model)
    a = np.array([skin.positions(s)[subject.skin] for s in truth])
    b = np.array([skin.positions(s)[subject.skin] for s in found])
    jitter = np.diff(b - a, n=2, axis=0)
    blink = [list(subject.model.expression_names).index(f"eyeBlink{s}") for s in ("Left", "Right")]
    lids = [np.array([s.expression[blink].mean() for s in states]) for states in (truth, found)]
    jaws = [np.array([s.jaw[0] for s in states]) for states in (truth, found)]
    heads = [np.array([s.translation for s in states]) for states in (truth, found)]
    turns = [errors(subject, x, y).rotation_deg for x, y in zip(truth, found, strict=True)]
    return {
        "vertex_mm": 1e3 * float(np.sqrt(np.mean(((a - b) ** 2).sum(axis=2)))),
        "rotation_deg": float(np.sqrt(np.mean(np.square(turns)))),
        "jitter_mm": 1e3 * float(np.sqrt(np.mean((jitter**2).sum(axis=2)))),
        "lag_head_ms": _lag(*heads),
        "lag_jaw_ms": _lag(*jaws),
        "lag_blink_ms": _lag(*lids),
        "blink_rms": float(np.sqrt(np.mean((lids[0] - lids[1]) ** 2))),
    }


def _lag(truth: np.ndarray, found: np.ndarray) -> float:
    """Milliseconds that found is behind: the shift of least squared difference, to first order
    found(t) = truth(t) - lag truth'(t)."""
    speed = np.gradient(truth, 1 / RATE, axis=0)
    moved = float(np.sum(speed**2))
    return 1e3 * float(-np.sum(speed * (found - truth)) / moved) if moved > 0 else 0.0


def _shape_error(subject: Subject, truth: np.ndarray, found: np.ndarray) -> float:
    """Root mean square distance (mm) of neutral skins, moved rigidly onto each other."""
    skin, state = vertex_evaluator(subject.model), neutral_state(subject.model)
    a = skin.positions(replace(state, shape=truth))[subject.skin]
    b = skin.positions(replace(state, shape=found))[subject.skin]
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    left, _, right = np.linalg.svd(a.T @ b)
    turn = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    return 1e3 * float(np.sqrt(np.mean(((a - b @ turn.T) ** 2).sum(axis=1))))


def _expected_shape_error(subject: Subject, belief: ShapeBelief) -> float:
    """What the belief's covariance says about that error, mean and rotation taken out."""
    basis = subject.model.shape_basis[subject.skin].astype(np.float64)
    basis = basis - basis.mean(axis=0)
    place = subject.model.template[subject.skin].astype(np.float64)
    place = place - place.mean(axis=0)
    turns = np.stack([np.cross(axis, place) for axis in np.eye(3)], axis=-1).reshape(-1, 3)
    flat = basis.reshape(-1, basis.shape[-1])
    flat = flat - turns @ np.linalg.lstsq(turns, flat, rcond=None)[0]
    variance = np.einsum("ij,jk,ik->", flat, belief.covariance, flat, optimize=True)
    return 1e3 * float(np.sqrt(variance / len(subject.skin)))
