"""What both aligners make of the Blender set, into docs/blender_set.md.

    python tools/blender_figures.py FOLDER

FOLDER is what tools/blender_set.py made. Also written: the contact sheet in docs/images, and the
manifest as tools/blender_scenes/validation.json. Of sequences only these two, as the figures are
those of benchmarks/blender_fit.py.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from blender_scenes.sheet import draw_sequences, draw_sheet
from doc_places import with_tables

from flowface_ros.align.aligner import make_aligner
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.train.picture_set import Figures, set_figures
from flowface_ros.train.regions import REGIONS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "blender_set.md"
SHEET = ROOT / "docs" / "images" / "blender_set.jpg"
SEQUENCES_SHEET = ROOT / "docs" / "images" / "blender_sequences.jpg"
MANIFESTS = ROOT / "tools" / "blender_scenes"

GROUPS = {
    "all": "all",
    "yaw_0_30": "yaw to 30°",
    "yaw_30_60": "30° to 60°",
    "yaw_60_90": "60° to 90°",
    "half_hidden": "half hidden",
    "small": "48 px",
}
_POINTS = ("visible", "eyelids", "lips", "hidden")


def group_table(figures: dict[str, Figures]) -> str:
    """Errors by group of pictures and aligner, as Markdown."""
    head = (
        "| pictures | number | aligner | visible | eyelids | lips | hidden | sigma rms | fit, mm |"
    )
    lines = [head, "|" + "---|" * 9]
    for group, words in GROUPS.items():
        for name, of_aligner in figures.items():
            if group in of_aligner:
                lines.append(f"| {words} | {_cells(name, of_aligner[group])} |")
    return "\n".join(lines) + "\n"


def _cells(aligner: str, sets: dict[str, dict[str, float]]) -> str:
    cells = [f"{sets['pictures']['count']:.0f}", f"`{aligner}`"]
    for points in _POINTS:
        row = sets.get(points)
        cells.append(
            f"{row['mean_iod_percent']:.2f} ({row['median_iod_percent']:.2f})" if row else "none"
        )
    cells.append(f"{sets['visible']['sigma_rms']:.2f}" if "visible" in sets else "none")
    fitted = sets["fit"].get("median_mm")
    cells.append("none" if fitted is None else f"{fitted:.2f}")
    return " | ".join(cells)


def region_table(figures: dict[str, Figures]) -> str:
    """Rms of the normalised residuals by region, as Markdown."""
    lines = ["| aligner | " + " | ".join(REGIONS) + " |", "|---" * (len(REGIONS) + 1) + "|"]
    for name, of_aligner in figures.items():
        rows = [of_aligner["all"].get(region) for region in REGIONS]
        cells = [f"{row['sigma_rms']:.2f}" if row else "none" for row in rows]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _measure(folder: Path) -> None:
    model = load_builtin_head()
    figures = {
        name: set_figures(make_aligner(name, model, device="cpu"), model, folder)
        for name in ("landmarks", "network")
    }
    tables = {"figures": group_table(figures), "sigma by region": region_table(figures)}
    PAGE.write_text(with_tables(PAGE.read_text(), tables))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    about = json.loads((folder / "manifest.json").read_text())
    if about["set"] == "sequences":
        draw_sequences(SEQUENCES_SHEET, folder, about["frames"])
    else:
        _measure(folder)
        draw_sheet(SHEET, folder)
    shutil.copy(folder / "manifest.json", MANIFESTS / f"{about['set']}.json")


if __name__ == "__main__":
    main()
