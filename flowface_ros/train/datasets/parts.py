"""What `--data` names: several data sets in one batch, by weight."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.train.datasets.captures import CaptureSet

SYNTHETIC = ("synth", "synth-gpu")
ON_DISK = ("facescape", "stirling", "famos")
PICTURES = "pictures"
"""Pictures with truth that the package's own tools made."""


@dataclass(frozen=True)
class DataPart:
    """kind: one of `SYNTHETIC` or `ON_DISK`, or `PICTURES`. folder: of the latter two. weight:
    share of a batch."""

    kind: str
    folder: Path | None
    weight: float


def parse_data(text: str) -> tuple[DataPart, ...]:
    """`synth`, `famos:/data/famos` or several with weights, `synth:0.7,famos:/data/famos:0.3`.

    Weights need not add up to 1; without one a part has weight 1. Folders hold no comma.
    Raises ValueError that names the part.
    """
    parts = tuple(_parse_part(part.strip()) for part in text.split(","))
    if sum(part.kind in SYNTHETIC for part in parts) > 1:
        raise ValueError(f"data: {text!r} has more than one synthetic part")
    total = sum(part.weight for part in parts)
    return tuple(DataPart(part.kind, part.folder, part.weight / total) for part in parts)


def batch_counts(parts: tuple[DataPart, ...], batch_size: int) -> tuple[int, ...]:
    """Examples of each part in a batch: at least one, as near to the weights as that allows.
    ValueError when a batch is too small."""
    if batch_size < len(parts):
        raise ValueError(f"batch_size is {batch_size}, must be at least {len(parts)}, one per part")
    counts = [max(1, int(part.weight * batch_size)) for part in parts]
    while sum(counts) != batch_size:
        lacking = [part.weight * batch_size - n for part, n in zip(parts, counts, strict=True)]
        if sum(counts) < batch_size:
            counts[lacking.index(max(lacking))] += 1
        else:
            spare = [d if n > 1 else float("inf") for d, n in zip(lacking, counts, strict=True)]
            counts[spare.index(min(spare))] -= 1
    return tuple(counts)


def open_captures(part: DataPart, model: HeadModel, points: SurfacePoints) -> CaptureSet:
    """The data set of a part that is on disk. Raises ValueError or OSError that names the file."""
    assert part.folder is not None
    if not part.folder.is_dir():
        raise FileNotFoundError(f"{part.folder}: no such folder")
    if part.kind == "facescape":
        from flowface_ros.train.datasets.facescape import FacescapeCaptures

        return FacescapeCaptures(part.folder, model, points)
    if part.kind == "famos":
        from flowface_ros.train.datasets.famos import FamosCaptures

        return FamosCaptures(part.folder, model, points)
    from flowface_ros.train.datasets.stirling import StirlingCaptures

    return StirlingCaptures(part.folder, model, points)


_IN_FOLDERS = (*ON_DISK, PICTURES)


def _parse_part(text: str) -> DataPart:
    kind, _, rest = text.partition(":")
    if kind not in (*SYNTHETIC, *_IN_FOLDERS):
        allowed = ", ".join((*SYNTHETIC, *_IN_FOLDERS))
        raise ValueError(f"data: {text!r} is not known; parts begin with one of {allowed}")
    folder, weight = (rest, 1.0) if kind in _IN_FOLDERS else ("", 1.0)
    last = rest.rpartition(":")
    if rest and _is_number(last[2]):
        folder, weight = last[0], float(last[2])
    elif rest and kind in SYNTHETIC:
        raise ValueError(f"data: {text!r}: {rest!r} is not a weight")
    if not 0 < weight < float("inf"):
        raise ValueError(f"data: {text!r}: the weight must be positive")
    if kind in _IN_FOLDERS and not folder:
        raise ValueError(f"data: {text!r} has no folder, as in {kind}:/path/to/it")
    return DataPart(kind, Path(folder) if folder else None, weight)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
