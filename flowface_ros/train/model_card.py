"""What a trained network is, for those who use it."""

from __future__ import annotations

from pathlib import Path

from flowface_ros.align.network.networks import Network
from flowface_ros.train.datasets.parts import ON_DISK, batch_counts, parse_data
from flowface_ros.train.metrics import format_figures
from flowface_ros.train.run_config import RunConfig

LICENCE = "Apache-2.0"
"""The light trunk's weights are Google's, under this licence; everything else is made here."""

_SOURCES = {
    "synth": "pictures drawn by the package's renderer (procedural people, CC0 head data)",
    "synth-gpu": "pictures drawn on the GPU from the package's people (CC0 head data)",
    "pictures": "path-traced pictures of the package's people (CC0)",
    "facescape": "FaceScape",
    "stirling": "the Stirling/ESRC 3D face database",
    "famos": "FaMoS",
}
_PHOTOGRAPHS = "the user's photographs with the landmark network's answer on the clean picture"


def data_of(config: RunConfig) -> str:
    """What the batches of a run are made of."""
    parts, photographs = parse_data(config.data), config.photograph_count
    counts = batch_counts(parts, config.batch_size - photographs)
    named = [(n, _SOURCES[part.kind]) for n, part in zip(counts, parts, strict=True)]
    if photographs:
        named.append((photographs, _PHOTOGRAPHS))
    texts = [f"{n / config.batch_size:.0%} {name}" for n, name in named]
    if not photographs and not any(part.kind in ON_DISK for part in parts):
        texts.append("no picture of a real person")
    return "; ".join(texts)


def licence_of(config: RunConfig) -> str:
    """Of the weights of a run: data sets bring terms of their own."""
    used = [_SOURCES[p.kind] for p in parse_data(config.data) if p.kind in ON_DISK]
    if not used:
        return LICENCE
    return f"{LICENCE} as far as this package goes; the terms of {' and '.join(used)} come on top"


def write_model_card(
    path: Path, network: Network, config: RunConfig, step: int, world: int,
    figures: dict[str, dict[str, float]],
) -> None:  # fmt: skip
    """Markdown: data, steps, figures, licence, atlas."""
    pictures = step * config.batch_size * world
    lines = [
        f"# Alignment network `{config.preset}`",
        "",
        f"- atlas: `{network.atlas_hash:016x}`, grid {network.config.output_grid}",
        f"- parameters: {sum(p.numel() for p in network.parameters()):,}",
        f"- data: {data_of(config)}",
        f"- seen: {pictures:,} pictures in {step:,} of {config.steps:,} steps, seed {config.seed}",
        f"- licence: {licence_of(config)}",
        "",
        f"## Figures on {config.validation_pictures // 2} synthetic pictures of unseen people",
        "",
        "Sigma was calibrated per region on as many others. Half of them are by a bad camera "
        "(blur, noise, JPEG, low resolution, covered parts). Error in % of the distance of the "
        "outer eye corners; sigma rms is that of normalised residuals, 1 when sigma is honest. "
        "`visible` and `hidden` are the face's skin, `_all` all texels, the regions visible "
        "points.",
        "",
        "```",
        format_figures(figures),
        "```",
        "",
        "## Limits",
        "",
        "Synthetic pictures alone say little about photographs: run `flowface weights verify`.",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
