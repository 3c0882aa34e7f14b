"""Converts a TFLite graph of a convolutional network to ONNX, operator by operator.

The ONNX network takes uint8 RGB pictures (N, H, W, 3) and scales them itself; N is free, and where
the network is wholly convolutional H and W can be, too. Inside, activations are NCHW. Weights keep
the original's float16 in the file; ONNX Runtime widens them once, when it loads the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper
from tflite_graph import Graph, Operation
from tflite_operators import CONVERTERS, Builder, tensor_name

OPSET = 17
_IR_VERSION = 9
"""ONNX 1.14's file version: every ONNX Runtime since 1.15 reads it."""


@dataclass(frozen=True)
class Output:
    """One output of the converted network."""

    name: str
    tensor: int
    """id of the TFLite tensor"""
    shape: tuple[int, ...]
    """after the batch dimension; one of them may be -1, free"""
    logistic: bool = False
    """whether to add the sigmoid that the original's users apply afterwards"""


def convert(
    graph: Graph,
    outputs: Sequence[Output],
    scale: float,
    offset: float,
    producer: str,
    free_size: bool = False,
) -> bytes:
    """Serialized ONNX of the part of the graph that `outputs` need; the same bytes each time.

    scale, offset: the network sees `pixel * scale + offset`.
    free_size: leave the picture's height and width open, in multiples of the network's stride.
    producer: provenance, written into the file's documentation string.
    Raises ValueError for an operator that is not supported.
    """
    builder = Builder(graph, free_size)
    _add_input(builder, scale, offset)
    for operation in _needed(graph, [output.tensor for output in outputs]):
        if operation.name not in CONVERTERS:
            raise ValueError(f"operator {operation.name} is not supported")
        CONVERTERS[operation.name](builder, operation)
    for output in outputs:
        _add_output(builder, output)
    _, height, width, channels = graph.shapes[graph.inputs[0]]
    size = ["height", "width"] if free_size else [height, width]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *size, channels])
    results = [_output_info(output) for output in outputs]
    onnx_graph = helper.make_graph(builder.nodes, "network", [image], results, builder.weights)
    model = helper.make_model(
        onnx_graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="flowface_ros tools/tflite_to_onnx.py",
        doc_string=producer,
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _needed(graph: Graph, tensors: Sequence[int]) -> list[Operation]:
    wanted, kept = set(tensors), []
    for operation in reversed(graph.operations):
        if wanted.intersection(operation.outputs):
            kept.append(operation)
            wanted.update(operation.inputs)
    return kept[::-1]


def _add_input(builder: Builder, scale: float, offset: float) -> None:
    # Transposed as bytes, a quarter of the memory traffic.
    builder.node("Transpose", ["image"], "image_nchw", perm=[0, 3, 1, 2])
    builder.node("Cast", ["image_nchw"], "image_float", to=TensorProto.FLOAT)
    last = tensor_name(builder.graph.inputs[0])
    scale_name = builder.weight("scale", np.float32(scale).reshape(1))
    builder.node("Mul", ["image_float", scale_name], "image_scaled" if offset else last)
    if offset:
        offset_name = builder.weight("offset", np.float32(offset).reshape(1))
        builder.node("Add", ["image_scaled", offset_name], last)


def _output_info(output: Output) -> onnx.ValueInfoProto:
    shape = [f"{output.name}_count" if n == -1 else n for n in output.shape]
    return helper.make_tensor_value_info(output.name, TensorProto.FLOAT, ["batch", *shape])


def _add_output(builder: Builder, output: Output) -> None:
    name = tensor_name(output.tensor)
    if len(builder.graph.shapes[output.tensor]) == 4:
        name = builder.node("Transpose", [name], f"{output.name}_nhwc", perm=[0, 2, 3, 1])
    if output.logistic:
        name = builder.node("Sigmoid", [name], f"{output.name}_probability")
    batch = 0 if -1 in output.shape else -1  # 0: as it was
    shape = builder.weight(f"{output.name}_shape", np.array([batch, *output.shape], np.int64))
    builder.node("Reshape", [name, shape], output.name)
