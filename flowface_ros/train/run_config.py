"""Everything that decides a training run, and its file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from math import inf
from pathlib import Path

from flowface_ros.align.network.config import PRESETS
from flowface_ros.train.datasets.parts import parse_data

_MAY_CHANGE = (
    "steps",
    "workers",
    "compiled",
    "validate_every",
    "validation_pictures",
)
"""Fields that a resumed run may set anew."""


@dataclass(frozen=True)
class RunConfig:
    """A doc line follows each field. Raises ValueError that names the field."""

    preset: str = "light"
    """Network: light, base or paper."""
    data: str = "synth"
    """Parts of each batch: `synth` (CPU renderer in worker processes) or `synth-gpu` (drawn on the
    device that trains), and data sets on disk, as `synth:0.7,famos:/path:0.3`."""
    photographs: str = ""
    """Folder of photographs that are mixed in, with the landmark network's answer; "" for none."""
    photograph_share: float = 0.1
    """Of each batch, where there is a folder."""
    steps: int = 40_000
    """The whole run; the learning rate falls over the last fifth of it."""
    batch_size: int = 32
    """Crops per step and process."""
    learning_rate: float = 4e-4
    """Highest, after the warm-up."""
    seed: int = 0
    """Decides weights, data and augmentation."""
    people: int = 512
    """Different people at a time."""
    fresh_every: int = 2
    """Steps after which one of them is replaced by a new one."""
    workers: int = 2
    """Processes that draw pictures or make people."""
    compiled: bool = False
    """Shading (of `synth-gpu`) and network through torch.compile: a slow start, then faster."""
    validate_every: int = 2000
    """Steps between validations."""
    validation_pictures: int = 256
    """Of unseen people, half of them seen by a bad camera."""

    def __post_init__(self) -> None:
        _require(self.preset in PRESETS, "preset", self.preset, f"one of {sorted(PRESETS)}")
        for name in (
            "steps",
            "batch_size",
            "people",
            "fresh_every",
            "validate_every",
        ):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        count, share = self.validation_pictures, self.photograph_share
        _require(count >= 2, "validation_pictures", count, "at least 2, half of them for sigma")
        _require(0 < share < 1, "photograph_share", share, "between 0 and 1")
        _require(self.workers >= 0, "workers", self.workers, "at least 0")
        _require(0 < self.learning_rate < inf, "learning_rate", self.learning_rate, "positive")
        _require(0 <= self.seed < 2**32, "seed", self.seed, "0 or more and below 2^32")
        parts, photographs = len(parse_data(self.data)), self.photograph_count
        _require(
            self.batch_size >= parts + photographs,
            "batch_size",
            self.batch_size,
            f"large enough for {parts} parts and {photographs} photographs",
        )

    @property
    def photograph_count(self) -> int:
        """Photographs in each batch."""
        if not self.photographs:
            return 0
        return max(1, round(self.photograph_share * self.batch_size))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def check_resumes(self, path: Path) -> None:
        """Raises ValueError when the run that `path` describes was another one."""
        if not path.exists():
            return
        before = read_run_config(path)
        for field in fields(RunConfig):
            old, new = getattr(before, field.name), getattr(self, field.name)
            if field.name == "photographs" and old and new:
                continue  # their folder may have moved
            if old != new and field.name not in _MAY_CHANGE:
                raise ValueError(
                    f"{field.name} is {new!r}, but the run in {path.parent} has {old!r}"
                )


def read_run_config(path: Path) -> RunConfig:
    """Raises ValueError that names the file."""
    try:
        return RunConfig(**json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a run's configuration: {error}") from error


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{name}: {value!r} is not allowed, must be {allowed}")
