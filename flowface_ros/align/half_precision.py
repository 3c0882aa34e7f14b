"""An ONNX network to one that computes in float16, for CUDA; TensorRT does that by itself."""

from __future__ import annotations

from typing import Any

from flowface_ros.align.onnx_session import DeviceError

_FLOAT, _FLOAT16 = 1, 10
"""ONNX's TensorProto.DataType."""


def half_precision(content: bytes) -> bytes:
    """The same network with float16 inside and its inputs and outputs as they were.

    Nodes that the file's metadata names in `flowface.float32_nodes` stay as they are.
    Raises DeviceError when the `onnx` package is not installed.
    """
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise DeviceError("precision 'fp16' on CUDA needs the package onnx") from error
    model = onnx.load_from_string(content)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    kept = properties.get("flowface.float32_nodes", "").split()
    half = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    _skip_round_trips(half.graph)
    return half.SerializeToString()


def _skip_round_trips(graph: Any) -> None:
    """The converter casts to float16 and back between nodes that both stay in float32."""
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    for node in casts.values():
        before = casts.get(node.input[0])
        if before is None or node.attribute[0].i != _FLOAT or before.attribute[0].i != _FLOAT16:
            continue
        node.op_type = "Identity"
        node.input[0] = before.input[0]
        del node.attribute[:]
