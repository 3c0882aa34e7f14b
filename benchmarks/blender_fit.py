"""The head fitted to one view of the Blender set's sequences: `network` against `landmarks`.

FOLDER is what `tools/blender_set.py --set sequences` made; people of whom all frames are there
count. `single`: every picture on its own. `sequence`: as a video, by the tracker. Vertex errors are
of the face's vertices, in the camera's frame and after a rigid alignment; the motion error is SSME.
"""

from __future__ import annotations

import harness

harness.pin_threads(1)

import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from blender_clips import blender_clips  # noqa: E402
from clip_figures import MODES, NAN, Judged, judge, space_errors  # noqa: E402
from peer_clips import Clip  # noqa: E402
from peer_trackers import Eyes, Run, fitted  # noqa: E402

from flowface_ros.align.aligner import ALIGNERS, Aligner, make_aligner  # noqa: E402
from flowface_ros.align.landmark_net import FaceFinder  # noqa: E402
from flowface_ros.align.several_looks import LOOKS  # noqa: E402
from flowface_ros.head.model import HeadModel  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402

HORIZONS_S = (0.1, 0.5, 1.0, 1.5)
GAINS = (
    "rig_mm", "rig_median_mm", "aligned_mm", "aligned_median_mm", "ssme_px", "common_px",
    "ssme_median_px",
)  # fmt: skip
"""Figures of which a smaller one is better, and of which the network's gain is said."""
_QUICK_PEOPLE = 2
PAGE = harness.DOCS / "blender_set.md"


def figures(clips: Sequence[Clip], trackers: dict[tuple[str, int], Run]) -> list[dict[str, Any]]:
    """A row for each mode, aligner and number of looks."""
    by_name = {f"{aligner} {looks}": run for (aligner, looks), run in trackers.items()}
    rows = []
    for mode in MODES:
        judged = judge(clips, by_name, mode)
        rows += [
            {"mode": mode, "aligner": aligner, "looks": looks, **_errors(clips, of)}
            for (aligner, looks), of in zip(trackers, judged.values(), strict=True)
        ]
    return rows


def _errors(clips: Sequence[Clip], judged: Judged) -> dict[str, float]:
    """Means and medians over frames of vertex errors; SSME over all clips, the median of the
    clips' own, over the pixels that all cover, and by horizon."""
    space = [space_errors(c, a) for c, a in zip(clips, judged.answers, strict=True)]
    rig = np.concatenate([s.rig_mm for s in space if s is not None])
    aligned = np.concatenate([s.aligned_mm for s in space if s is not None])
    own = judged.own_sum
    curve = own.by_horizon_px("face")
    frames = sum(len(clip.images) for clip in clips)
    return {
        "found": len(rig) / frames,
        "rig_mm": _of(np.mean, rig),
        "rig_median_mm": _of(np.median, rig),
        "aligned_mm": _of(np.mean, aligned),
        "aligned_median_mm": _of(np.median, aligned),
        "ssme_px": own.score_px("face"),
        "ssme_percent": own.score_percent("face"),
        "ssme_median_px": float(np.nanmedian([sums.score_px("face") for sums in judged.own])),
        "common_px": judged.common_sum.score_px("face"),
        **{f"{s:g} s": float(curve[round(s * clips[0].fps) - 1]) for s in HORIZONS_S},
        "ms": float(np.median([answer.ms for answer in judged.answers])),
    }


def _of(statistic: Any, values: np.ndarray) -> float:
    return float(statistic(values)) if len(values) else NAN


def gains(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """1 - network / landmarks of each of GAINS, by mode and looks that both have."""
    found = {(row["mode"], row["looks"], row["aligner"]): row for row in rows}
    return [
        {"mode": mode, "looks": looks, **{k: 1 - row[k] / other[k] for k in GAINS}}
        for (mode, looks, aligner), row in found.items()
        if aligner == "network" and (other := found.get((mode, looks, "landmarks")))
    ]


def write_docs(rows: list[dict[str, Any]], people: int, frames: int) -> None:
    """Replace what is between the markers of docs/blender_set.md."""
    shown = [{k: v for k, v in row.items() if k not in ("ms", "ssme_median_px")} for row in rows]
    better = [
        {k: f"{100 * v:.0f} %" if isinstance(v, float) else v for k, v in row.items()}
        for row in gains(rows)
    ]
    parts = [f"{people} people, {frames} frames. {harness.machine_description()}."]
    parts += [harness.markdown_table(shown, ".2f")]
    if better:
        parts += ["How much lower the network's errors are:", harness.markdown_table(better)]
    harness.replace_section(PAGE, "sequences", "\n\n".join(parts))


def _eyes(aligner: Aligner, finder: FaceFinder) -> Eyes:
    return lambda clip, mode: (aligner, finder, 0.0)


def _tracker(
    model: HeadModel, finder: FaceFinder, name: str, looks: int, weights: Path | None
) -> Run:
    own = weights if name == "network" else None
    aligner = make_aligner(name, model, device="cpu", weights=own, looks=looks)
    return fitted(model, _eyes(aligner, finder))


def main() -> None:
    parser = harness.parser(__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="of the sequences")
    parser.add_argument("--aligner", choices=ALIGNERS, nargs="+", default=list(ALIGNERS))
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of the aligner `network`")
    parser.add_argument("--looks", type=int, choices=LOOKS, nargs="+", default=[LOOKS[-1], 1])
    parser.add_argument("--docs", action="store_true", help="write the table into docs/")
    args = parser.parse_args()
    if args.weights is not None and "network" not in args.aligner:
        parser.error("--weights is of the aligner network, which --aligner leaves out")
    if args.folder is None:
        print("skipped: no FOLDER of sequences given", file=sys.stderr)
        return
    model, finder = load_builtin_head(), FaceFinder("cpu")
    clips = blender_clips(args.folder, model)[: _QUICK_PEOPLE if args.quick else None]
    trackers = {
        (name, looks): _tracker(model, finder, name, looks, args.weights)
        for name in args.aligner
        for looks in args.looks
    }
    rows = figures(clips, trackers)
    better = gains(rows)
    harness.print_table(rows)
    print()
    harness.print_table(better)
    frames = sum(len(clip.images) for clip in clips)
    if args.json:
        weights = str(args.weights or "shipped")
        found = {"people": len(clips), "frames": frames, "weights": weights, "rows": rows}
        harness.write_json(args.json, {**found, "gains": better})
    if args.docs:
        write_docs(rows, len(clips), frames)


if __name__ == "__main__":
    main()
