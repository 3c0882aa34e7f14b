"""Measures an aligner's steady errors on synthetic people seen by three cameras.

    python tools/measure_steady.py [--aligner landmarks]

Prints the `SteadyConfig` that belongs into `flowface_ros/track/config.py`. Run it whenever the
aligner changes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from dataclasses import dataclass, replace
from functools import cache, reduce
from operator import add

import cv2
import numpy as np
from tqdm import tqdm

from flowface_ros.align.aligner import ALIGNERS, Aligner, Picture, make_aligner
from flowface_ros.align.observation import Observation
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.config import FitConfig
from flowface_ros.fit.steady_measure import PointErrors, measure_steady, point_errors
from flowface_ros.fit.steady_shape import measure_shape
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.state import HeadState
from flowface_ros.synth.scene.scene import Scene, SceneConfig
from flowface_ros.track.config import ALIGNER_NOISE
from flowface_ros.track.crops import HeadProjector

_CAMERAS = 3
_SECONDS = 6.0
_MAX_VIEW_ANGLE_DEG = 100.0
_MIN_PRESENCE = 0.5
"""As in tracking."""
_POINTS = 500
"""Of the aligner's, evenly thinned: errors of neighbours are alike."""


@dataclass(frozen=True)
class _Job:
    aligner: str
    seed: int
    moments: int


@dataclass(frozen=True, eq=False)
class _View:
    """What one view of one moment says of a person, and its errors."""

    truth: HeadState
    rig: Rig
    observation: Observation
    errors: PointErrors


@cache
def _aligner(name: str) -> Aligner:
    return make_aligner(name, load_builtin_head(), device="cpu")


def _person(job: _Job) -> list[list[_View]]:
    """One person in the views of each moment."""
    cv2.setNumThreads(1)
    scene = Scene(SceneConfig(seed=job.seed, cameras=_CAMERAS, duration_s=_SECONDS))
    aligner = _aligner(job.aligner)
    chosen = _chosen(len(aligner.points))
    evaluator = SurfaceEvaluator(scene.model, aligner.points[chosen])
    projector = HeadProjector(scene.model, aligner.crop_size, _MAX_VIEW_ANGLE_DEG)
    found = []
    for t in (np.arange(job.moments) + 0.5) / job.moments * _SECONDS:
        truth, rig = scene.head_state(0, t), Rig(tuple(scene.cameras(t)))
        seen = []
        for i, camera in enumerate(rig):
            view = projector.view(camera, truth)
            if view is not None:
                picture = Picture(scene.render(i, t).color, camera.name)
                answer = aligner.align([picture], [[view.crop]])[0][0]
                if answer.presence is None or answer.presence >= _MIN_PRESENCE:
                    observation = answer.observation[chosen]
                    errors = point_errors(evaluator, [observation], rig, truth)
                    seen.append(_View(truth, rig, observation, errors))
        found.append(seen)
    return found


def _by_view(person: list[list[_View]]) -> list[PointErrors]:
    """Errors, summed over the moments at which all cameras see the face; empty without one."""
    whole = [views for views in person if len(views) == _CAMERAS]
    return [reduce(add, (v.errors for v in view)) for view in zip(*whole, strict=True)]


def _chosen(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(_POINTS, count)).round().astype(int)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--aligner", choices=ALIGNERS, default=ALIGNERS[0])
    parser.add_argument("--people", type=int, default=90)
    parser.add_argument("--moments", type=int, default=5, help="of each person")
    parser.add_argument("--seed", type=int, default=100_000, help="of the first person")
    args = parser.parse_args()
    jobs = [_Job(args.aligner, args.seed + i, args.moments) for i in range(args.people)]
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        found = list(tqdm(pool.imap(_person, jobs), total=len(jobs), unit="person"))
    people = [views for views in map(_by_view, found) if views]
    alone = [view for person in found for views in person for view in views]
    model, points = load_builtin_head(), _aligner(args.aligner).points
    errors = [view.errors for view in alone]
    config = measure_steady(model, points[_chosen(len(points))], people, errors)
    noise = replace(ALIGNER_NOISE, steady=config)
    samples = [(view.truth, view.rig, view.observation) for view in alone]
    config = replace(config, shape=measure_shape(model, FitConfig(noise=noise), samples))
    print(f"{len(people)} people")
    print(f"shift    {np.round(np.multiply(config.shift, 1e3), 2)} mm: left, up, forward")
    print(f"turn     {np.round(np.degrees(config.turn), 2)} deg: pitch, yaw, roll")
    print(f"own      {1e3 * config.view_shift:.2f} mm of shift, of each view")
    print(f"own turn {np.round(np.degrees(config.view_turn), 2)} deg, of each view")
    print(f"side     {np.round(np.degrees(config.side_turn), 2)} deg, of each view from the side")
    print(f"         {100 * config.side_scale:.2f} % of scale")
    print(f"scale    {100 * config.scale:.2f} %")
    print(f"shape    {config.shape:.2f} of the head's coefficients")
    print(f"field    {np.round(config.field_variance, 3)} of sigma squared, ", end="")
    print(f"length {1e3 * config.field_length:.1f} mm")
    print(config)


if __name__ == "__main__":
    main()
