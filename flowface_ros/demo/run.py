"""The whole demo: a synthetic recording with truth and two real clips, live through the tracker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from flowface_ros.bag.evaluation_input import find_topics, read_recording, read_tracking
from flowface_ros.bag.evaluation_pictures import report_pictures
from flowface_ros.bag.images import encode_png
from flowface_ros.bag.reader import open_bag
from flowface_ros.bag.recording import record_scene
from flowface_ros.demo.clips import CAMERA, Clip, astronaut, carphone, write_clip
from flowface_ros.demo.clips import RIG_FRAME as CLIP_FRAME
from flowface_ros.demo.figures import (
    COMMON_LIMITS,
    TRUTH_LIMITS,
    Figures,
    run_figures,
    table,
    truth_figures,
    violations,
)
from flowface_ros.demo.page import write_page
from flowface_ros.demo.pictures import SHEET_ROWS, Answers, write_sheet, write_video
from flowface_ros.demo.scene_sheet import sheet_of_bag
from flowface_ros.evaluate.metrics import evaluate
from flowface_ros.evaluate.report import finite_or_none, write_report
from flowface_ros.evaluate.tracking import Tracking
from flowface_ros.ros.live_run import LiveRun, pooled, track_live
from flowface_ros.ros.transform_buffer import recording_buffer
from flowface_ros.synth.scene.rigs import RIG_FRAME
from flowface_ros.synth.scene.scene import SceneConfig
from flowface_ros.synth.sheets.head_sheet import draw_head_sheet

Progress = Callable[[Iterable[Any], int], Iterable[Any]]
Bar = Callable[[str], Progress]
"""A progress bar for what a word says."""
Say = Callable[[str], None]

SYNTHETIC = "synthetic"


class Demo:
    """out: folder to write into; what an earlier demo left there is replaced, the rest stays."""

    def __init__(self, out: Path, bar: Bar, say: Say = print) -> None:
        self._out, self._bar, self._say = out, bar, say
        self.figures: dict[str, Figures] = {}
        self._real: list[tuple[LiveRun, Tracking]] = []

    def run(self, seed: int, jobs: int | None) -> list[str]:
        """All of it; lines about figures that are out of their range.

        Raises LiveRunError when the tracker does not run, OSError when a clip cannot be fetched.
        """
        self._out.mkdir(parents=True, exist_ok=True)
        self._synthetic(SceneConfig(seed=seed, cameras=3), jobs)
        for make in (carphone, astronaut):
            self._clip(make())
        return self._summarise()

    def _synthetic(self, config: SceneConfig, jobs: int | None) -> None:
        bag = self._fresh("demo.mcap")
        scene = record_scene(config, bag, jobs=jobs, progress=self._bar("rendering"))
        self._picture("contact_sheet.png", sheet_of_bag(scene, bag), "the true mesh on each camera")
        self._picture("head.png", draw_head_sheet(scene.model), "the head, its expressions")
        answers, run = self._track(SYNTHETIC, bag, scene.camera_names, RIG_FRAME)
        self._say("comparing with the truth")
        recording = read_recording(answers, bag, recording_buffer())
        metrics = evaluate(recording)
        sources = {"prediction": str(answers), "truth": str(bag)}
        pictures = report_pictures(recording, bag)
        write_report(self._out / "evaluation", {**sources, **metrics}, pictures)
        cameras = {name: recording.cameras[name] for name in scene.camera_names}
        self._draw(SYNTHETIC, Answers(bag, cameras, recording.prediction))
        figures = run_figures(run, recording.prediction.faces) | truth_figures(metrics)
        self.figures[SYNTHETIC] = figures

    def _clip(self, clip: Clip) -> None:
        bag = self._fresh(f"{clip.name}.mcap")
        write_clip(clip, bag)
        answers, run = self._track(clip.name, bag, [CAMERA], CLIP_FRAME)
        with open_bag(answers) as reader:
            transforms = recording_buffer()
            tracking, _ = read_tracking(reader, find_topics(reader), transforms)
        rows = 1 if clip.is_still else SHEET_ROWS
        self._draw(clip.name, Answers(bag, {CAMERA: lambda _: clip.camera}, tracking), rows)
        self._real.append((run, tracking))
        self.figures[clip.name] = run_figures(run, tracking.faces)

    def _track(
        self, name: str, bag: Path, cameras: Sequence[str], frame: str
    ) -> tuple[Path, LiveRun]:
        answers = self._fresh(f"{name}_tracked.mcap")
        self._say(f"playing {bag} to the tracker node")
        return answers, track_live(bag, cameras, frame, answers, self._bar("playing"))

    def _draw(self, name: str, answers: Answers, rows: int = SHEET_ROWS) -> None:
        self._say(f"drawing {self._out / name}.png and .webm")
        write_sheet(answers, self._out / f"{name}.png", rows)
        write_video(answers, self._out / f"{name}.webm")

    def _summarise(self) -> list[str]:
        rows = table(self.figures)
        links = [
            ("evaluation/report.html", "all figures of the synthetic recording"),
            ("contact_sheet.png", "the synthetic recording with the truth drawn on it"),
            ("head.png", "the head model"),
            ("metrics.json", "the figures above for programs"),
        ]
        write_page(self._out / "report.html", rows, list(self.figures), links)
        real = {name: value for name, value in self.figures.items() if name != SYNTHETIC}
        runs = pooled([run for run, _ in self._real])
        faces = [faces for _, tracking in self._real for faces in tracking.faces]
        together = run_figures(runs, faces)
        metrics = {SYNTHETIC: self.figures[SYNTHETIC], "real": together, "clips": real}
        text = json.dumps(finite_or_none(metrics), indent=1)
        (self._out / "metrics.json").write_text(text + "\n")
        lines = violations(SYNTHETIC, self.figures[SYNTHETIC], TRUTH_LIMITS)
        for name, figures in self.figures.items():
            lines += violations(name, figures, COMMON_LIMITS)
        return lines

    def _picture(self, name: str, picture: Any, what: str) -> None:
        (self._out / name).write_bytes(encode_png(picture))
        self._say(f"{self._out / name}: {what}")

    def _fresh(self, name: str) -> Path:
        path = self._out / name
        path.unlink(missing_ok=True)
        return path
