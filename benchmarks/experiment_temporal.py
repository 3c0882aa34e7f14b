"""Experiment 3: SSME with and without the temporal term and knowledge of the person's shape.

The same observations of the `network` aligner, cropped where the head truly is, are fitted frame by
frame or with the motion prior, with the shape unknown, guessed from each frame by the `network`
shape prior, learned, or known. Per-frame vertex offsets do not exist yet and are not among the
rows. `--scales` tries other motion priors on people of its own, so that nothing is chosen on those
that are reported.
"""

from __future__ import annotations

import harness

harness.pin_threads(1)

from collections.abc import Mapping, Sequence  # noqa: E402
from dataclasses import replace  # noqa: E402
from functools import partial  # noqa: E402
from typing import Any  # noqa: E402

import experiment  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from peer_clips import Clip, synthetic_clip  # noqa: E402
from tqdm import tqdm  # noqa: E402

from flowface_ros.align.aligner import Picture, make_aligner  # noqa: E402
from flowface_ros.align.observation import Observation  # noqa: E402
from flowface_ros.camera.rig import Rig  # noqa: E402
from flowface_ros.evaluate.charts import Line  # noqa: E402
from flowface_ros.evaluate.jitter import jitter_mm  # noqa: E402
from flowface_ros.evaluate.moving_mesh import MovingMesh  # noqa: E402
from flowface_ros.evaluate.ssme import Ssme, ssme  # noqa: E402
from flowface_ros.fit.config import FitConfig, MotionConfig  # noqa: E402
from flowface_ros.fit.frame_fit import FrameFitter  # noqa: E402
from flowface_ros.fit.identity import IdentityEstimator  # noqa: E402
from flowface_ros.fit.motion import MotionFilter  # noqa: E402
from flowface_ros.fit.priors import ShapeBelief  # noqa: E402
from flowface_ros.fit.shape_prior import make_shape_prior  # noqa: E402
from flowface_ros.head.model import HeadModel  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402
from flowface_ros.head.skinning import pose_vertices  # noqa: E402
from flowface_ros.head.state import HeadState  # noqa: E402
from flowface_ros.synth.scene.scene import Scene, SceneConfig, seconds  # noqa: E402
from flowface_ros.track.config import ALIGNER_NOISE  # noqa: E402
from flowface_ros.track.crops import HeadProjector  # noqa: E402

FIT = FitConfig(noise=ALIGNER_NOISE)
_POINTS = 500
_SURE = 1e8
"""Information of a shape coefficient that is known."""
_KEYFRAME_STEP = 3
"""Frames between two that the shape is learned from."""

Observed = list[Observation | None]


def observe(clip: Clip, states: Sequence[HeadState], model: HeadModel) -> Observed:
    """What the aligner says of each picture; None where the face cannot be seen."""
    aligner = make_aligner("network", model, device="cpu")
    projector = HeadProjector(model, aligner.crop_size, 100.0)
    chosen = np.linspace(0, len(aligner.points) - 1, _POINTS).astype(int)
    found: Observed = []
    for image, stamp, camera, state in zip(
        clip.images, clip.stamps_ns, clip.cameras, states, strict=True
    ):
        view = projector.view(camera, state)
        if view is None:
            found.append(None)
            continue
        ((answer,),) = aligner.align([Picture(image, camera.name, stamp)], [[view.crop]])
        found.append(answer.observation[chosen])
    return found


def known_shape(model: HeadModel, shape: NDArray[np.floating]) -> ShapeBelief:
    """A belief that is sure."""
    eye = np.eye(model.shape_count)
    return ShapeBelief(np.asarray(shape, np.float64), _SURE * eye, eye / _SURE)


def fit_clip(
    clip: Clip,
    observed: Observed,
    model: HeadModel,
    shape: str,
    motion: MotionConfig | None,
    truth: NDArray[np.floating],
) -> list[HeadState | None]:
    """The head in each frame. shape: unknown, guessed, learned or known. motion: None fits frame by
    frame."""
    fitter = FrameFitter(model, Rig((clip.cameras[0],)), FIT)
    filtered = None if motion is None else MotionFilter(model, motion)
    learned, guess = IdentityEstimator(model), make_shape_prior("network", model)
    states: list[HeadState | None] = []
    for row, (observation, stamp, camera) in enumerate(
        zip(observed, clip.stamps_ns, clip.cameras, strict=True)
    ):
        if observation is None:
            states.append(None)
            continue
        fitter.rig = Rig((camera,))
        prior = None if filtered is None else filtered.predict(stamp)
        belief = known_shape(model, truth) if shape == "known" else None
        belief = learned.belief if shape == "learned" else belief
        belief = guess.belief([observation], fitter.rig) if shape == "guessed" else belief
        keyframe = shape == "learned" and row % _KEYFRAME_STEP == 0
        solved = shape in ("unknown", "guessed") or keyframe
        result = fitter.fit([observation], prior, shape=belief, solve_shape=solved)
        if result.valid and filtered is not None:
            filtered.update(stamp, result)
        if result.valid and keyframe:
            learned.add([observation], fitter.rig, result)
        states.append(result.state if result.valid else None)
    return states


def scaled(motion: MotionConfig, factor: float) -> MotionConfig:
    """Heads and faces that move so many times as wildly: accelerations times, and times over, the
    factor."""
    return replace(
        motion,
        acceleration=motion.acceleration * factor,
        angular_acceleration=motion.angular_acceleration * factor,
        **{
            name: getattr(motion, name) / factor
            for name in ("neck_time", "jaw_time", "eye_time", "lid_time", "expression_time")
        },
    )


VARIANTS: Mapping[str, tuple[str, MotionConfig | None]] = {
    "frame by frame, shape unknown": ("unknown", None),
    "frame by frame, shape guessed": ("guessed", None),
    "frame by frame, shape learned": ("learned", None),
    "frame by frame, shape known": ("known", None),
    "motion prior, shape unknown": ("unknown", MotionConfig()),
    "motion prior, shape guessed": ("guessed", MotionConfig()),
    "motion prior, shape learned": ("learned", MotionConfig()),
    "motion prior, shape known": ("known", MotionConfig()),
}
ORACLES: Mapping[str, tuple[str, ...]] = {
    "the true pose": ("translation", "rotation", "neck"),
    "the true expression": ("expression", "jaw", "left_eye", "right_eye"),
    "the true shape": ("shape",),
}
"""What is put in the place of a fit's answer, to see where the error comes from."""
_ORACLES_OF = "motion prior, shape learned"
SCALES: Mapping[str, tuple[str, MotionConfig | None]] = {
    f"motion prior times {factor:g}": ("learned", scaled(MotionConfig(), factor))
    for factor in (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
}


def measure(
    seeds: Sequence[int], clip_s: float, variants: Mapping[str, tuple[str, MotionConfig | None]]
) -> tuple[list[dict[str, Any]], dict[str, Ssme]]:
    """SSME over the face, and shaking, by variant."""
    model = load_builtin_head()
    sums: dict[str, Ssme] = {}
    shaking: dict[str, list[float]] = {}
    for seed in tqdm(seeds, dynamic_ncols=True):
        clip = synthetic_clip(seed, clip_s)
        scene = Scene(SceneConfig(seed=seed, duration_s=clip_s))
        states = [scene.head_state(0, seconds(stamp)) for stamp in clip.stamps_ns]
        observed = observe(clip, states, model)
        answers = {
            name: fit_clip(clip, observed, model, shape, motion, states[0].shape)
            for name, (shape, motion) in variants.items()
        }
        for name, blocks in ORACLES.items() if _ORACLES_OF in answers else ():
            answers[f"{_ORACLES_OF}, with {name}"] = [
                None if head is None else replace(head, **{b: getattr(true, b) for b in blocks})
                for head, true in zip(answers[_ORACLES_OF], states, strict=True)
            ]
        for name, heads in answers.items():
            vertices = [None if head is None else pose_vertices(model, head) for head in heads]
            found = ssme(
                clip.truth, MovingMesh(model.triangles, vertices), clip.cameras, clip.regions,
                clip.inter_ocular_px,
            )  # fmt: skip
            sums[name] = sums[name] + found if name in sums else found
            pairs = zip(vertices, clip.truth.vertices, strict=True)
            errors = [None if v is None or t is None else v - t for v, t in pairs]
            shaking.setdefault(name, []).append(jitter_mm(errors))
    rows = []
    for name, total in sums.items():
        curve = total.by_horizon_px("face")
        rows.append(
            {
                "fit": name,
                "ssme_px": total.score_px("face"),
                "h1_px": float(curve[0]),
                "h5_px": float(curve[4]),
                "h30_px": float(curve[29]),
                "jitter_mm": float(np.mean(shaking[name])),
                "coverage": total.coverage("face"),
            }
        )
    return rows, sums


_curves: dict[str, Ssme] = {}


def run(quick: bool, scales: bool = False) -> dict[str, list[dict[str, Any]]]:
    """The variants, or other motion priors on other people."""
    count, clip_s = (1, 1.1) if quick else (5, 2.0)
    first = 700 if scales else 600
    rows, sums = measure(range(first, first + count), clip_s, SCALES if scales else VARIANTS)
    _curves.update(sums)
    return {f"{count} people, {clip_s:g} s each": rows}


def charts(tables: Mapping[str, Sequence[dict[str, Any]]]) -> list[str]:
    """SSME by horizon, of the fits that differ enough to be told apart."""
    drawn = ["frame by frame, shape unknown", _ORACLES_OF]
    drawn += [f"{_ORACLES_OF}, with {name}" for name in ORACLES]
    horizons = np.arange(1.0, 31.0)
    lines = [
        Line(name, horizons, _curves[name].by_horizon_px("face"), dashed="with the true" in name)
        for name in drawn
        if name in _curves
    ]
    return [experiment.save_chart("experiment_temporal", lines, "h, frames", "SSME(h), px")]


if __name__ == "__main__":
    import sys

    tuning = "--scales" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--scales"]
    experiment.main(__doc__.splitlines()[0], "temporal", partial(run, scales=tuning), charts)
