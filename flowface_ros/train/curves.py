"""Curves of a run: a JSON line per entry, TensorBoard and a picture where they can be had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LOG_NAME = "log.jsonl"
_SMOOTH = 20
"""Entries that a curve is averaged over."""


class CurveWriter:
    """Appends to `log.jsonl` of a run, and to TensorBoard's files when tensorboard is installed."""

    def __init__(self, run: Path, first_step: int) -> None:
        self._path = run / LOG_NAME
        self._drop_after(first_step)
        self._board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=first_step)

    def _drop_after(self, step: int) -> None:
        """A run that was stopped between two checkpoints goes back to the earlier one."""
        if self._path.exists():
            kept = [line for line in read_log(self._path) if line["step"] <= step]
            text = "".join(json.dumps(line) + "\n" for line in kept)
            self._path.write_text(text, encoding="utf-8")

    def add(self, step: int, values: dict[str, float]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries; a last line that was cut off is left out."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def draw_curves(run: Path) -> bool:
    """Write `curves.png`; False where matplotlib is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return False
    entries = read_log(run / LOG_NAME)
    groups = {
        "training loss": ("train/distance", "train/sigma", "train/heatmap", "train/joint"),
        "validation, mean error in % of inter-ocular distance": (
            "validation/visible", "validation/hidden", "validation/eyelids", "validation/lips",
        ),
        "validation, rms of normalised residuals": ("validation/sigma_rms",),
    }  # fmt: skip
    figure, axes = pyplot.subplots(1, len(groups), figsize=(15, 4), constrained_layout=True)
    for axis, (title, names) in zip(axes, groups.items(), strict=True):
        for name in names:
            points = [(e["step"], e[name]) for e in entries if name in e]
            if points:
                steps, values = zip(*points, strict=True)
                axis.plot(steps, _smoothed(values), label=name.split("/")[1])
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=8)
    figure.savefig(run / "curves.png", dpi=110)
    pyplot.close(figure)
    return True


def _smoothed(values: tuple[float, ...]) -> list[float]:
    """Means over the last `_SMOOTH` values; of few values these themselves."""
    if len(values) < 5 * _SMOOTH:
        return list(values)
    windows = (values[max(0, end - _SMOOTH) : end] for end in range(1, len(values) + 1))
    return [sum(window) / len(window) for window in windows]
