"""The operators of a TFLite graph as ONNX nodes, NCHW."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tflite_graph import Graph, Operation

_SAME, _RELU, _RELU6 = 0, 1, 3
"""TFLite's enumerations: Padding.SAME, ActivationFunctionType.RELU and .RELU6."""


class Builder:
    """ONNX nodes and weights in the making, for one TFLite graph."""

    def __init__(self, graph: Graph, free_size: bool) -> None:
        self.graph = graph
        self.free_size = free_size
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        """Adds a node of one output, and returns the output's name."""
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def weight(self, name: str, value: NDArray) -> str:
        """Name of a float32 tensor with this value, stored as float16 if it is float16."""
        value = np.ascontiguousarray(value)
        if value.dtype != np.float16:
            self.weights.append(numpy_helper.from_array(value, name))
            return name
        self.weights.append(numpy_helper.from_array(value, f"{name}_half"))
        return self.node("Cast", [f"{name}_half"], name, to=TensorProto.FLOAT)

    def constant(self, tensor: int) -> NDArray:
        """Value of a constant tensor. Raises ValueError when it is none."""
        if tensor not in self.graph.constants:
            raise ValueError(f"tensor {self.graph.names[tensor]} has to be a constant")
        return self.graph.constants[tensor]


def tensor_name(tensor: int) -> str:
    """Name in ONNX of a TFLite tensor."""
    return f"t{tensor}"


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _pads(builder: Builder, operation: Operation, kernel: tuple[int, int]) -> list[int]:
    """ONNX pads [top, left, bottom, right] of a convolution or pooling."""
    options = operation.options
    if options.Padding() != _SAME:
        return [0, 0, 0, 0]
    if builder.free_size and max(options.StrideH(), options.StrideW()) > 1:
        raise ValueError("SAME padding with a stride depends on the picture's size")
    _, height, width, _ = builder.graph.shapes[operation.inputs[0]]
    top, bottom = _same_padding(height, kernel[0], options.StrideH())
    left, right = _same_padding(width, kernel[1], options.StrideW())
    return [top, left, bottom, right]


def _activated(builder: Builder, operation: Operation, before: str) -> None:
    """Adds the activation that TFLite fuses into an operator."""
    kind = operation.options.FusedActivationFunction()
    out = tensor_name(operation.outputs[0])
    if kind == _RELU:
        builder.node("Relu", [before], out)
    elif kind == _RELU6:
        low = builder.weight(f"{out}_low", np.array(0, np.float32))
        high = builder.weight(f"{out}_high", np.array(6, np.float32))
        builder.node("Clip", [before, low, high], out)
    elif kind != 0:
        raise ValueError(f"fused activation {kind} is not supported")


def _before_activation(operation: Operation) -> str:
    out = tensor_name(operation.outputs[0])
    return out if operation.options.FusedActivationFunction() == 0 else f"{out}_linear"


def _convolution(builder: Builder, operation: Operation) -> None:
    depthwise = operation.name == "DEPTHWISE_CONV_2D"
    kernel = builder.constant(operation.inputs[1])
    # TFLite: OHWI, depthwise 1HWO. ONNX: OIHW, depthwise O1HW.
    kernel = kernel.transpose(3, 0, 1, 2) if depthwise else kernel.transpose(0, 3, 1, 2)
    out, options = tensor_name(operation.outputs[0]), operation.options
    weight = builder.weight(f"{out}_kernel", kernel)
    bias = builder.weight(f"{out}_bias", builder.constant(operation.inputs[2]))
    before = builder.node(
        "Conv",
        [tensor_name(operation.inputs[0]), weight, bias],
        _before_activation(operation),
        kernel_shape=list(kernel.shape[2:]),
        strides=[options.StrideH(), options.StrideW()],
        dilations=[options.DilationHFactor(), options.DilationWFactor()],
        pads=_pads(builder, operation, kernel.shape[2:]),
        group=builder.graph.shapes[operation.inputs[0]][3] if depthwise else 1,
    )
    _activated(builder, operation, before)


def _max_pool(builder: Builder, operation: Operation) -> None:
    options = operation.options
    kernel = (options.FilterHeight(), options.FilterWidth())
    before = builder.node(
        "MaxPool",
        [tensor_name(operation.inputs[0])],
        _before_activation(operation),
        kernel_shape=list(kernel),
        strides=[options.StrideH(), options.StrideW()],
        pads=_pads(builder, operation, kernel),
    )
    _activated(builder, operation, before)


def _add(builder: Builder, operation: Operation) -> None:
    if any(i in builder.graph.constants for i in operation.inputs):
        raise ValueError("ADD of a constant is not supported")
    names = [tensor_name(i) for i in operation.inputs]
    _activated(builder, operation, builder.node("Add", names, _before_activation(operation)))


def _prelu(builder: Builder, operation: Operation) -> None:
    """slope * x + (1 - slope) * relu(x), which ONNX Runtime's CPU kernels keep in their blocked
    layout; its PRelu kernel alone takes three times as long as the whole network does so."""
    source, out = tensor_name(operation.inputs[0]), tensor_name(operation.outputs[0])
    slope = builder.constant(operation.inputs[1]).reshape(-1, 1, 1)
    slope_name = builder.weight(f"{out}_slope", slope)
    one = builder.weight(f"{out}_one", np.array(1, np.float32))
    rest = builder.node("Sub", [one, slope_name], f"{out}_rest")
    linear = builder.node("Mul", [source, slope_name], f"{out}_linear")
    positive = builder.node("Relu", [source], f"{out}_positive")
    bent = builder.node("Mul", [positive, rest], f"{out}_bent")
    builder.node("Add", [linear, bent], out)


def _pad(builder: Builder, operation: Operation) -> None:
    batch, rows, columns, channels = builder.constant(operation.inputs[1]).tolist()
    source, out = tensor_name(operation.inputs[0]), tensor_name(operation.outputs[0])
    if (batch, rows, columns) == ([0, 0], [0, 0], [0, 0]):
        _add_channels(builder, operation, *channels)
        return
    nchw = (batch, channels, rows, columns)
    amounts = np.array([side[0] for side in nchw] + [side[1] for side in nchw], np.int64)
    builder.node("Pad", [source, builder.weight(f"{out}_pads", amounts)], out)


def _add_channels(builder: Builder, operation: Operation, before: int, after: int) -> None:
    """Channels of zeros, by a convolution with ones and zeros: after a Pad, ONNX Runtime's CPU
    kernels would leave their blocked layout for the rest of the stage."""
    source, out = tensor_name(operation.inputs[0]), tensor_name(operation.outputs[0])
    channels = builder.graph.shapes[operation.inputs[0]][3]
    widen = np.zeros((before + channels + after, channels, 1, 1), np.float16)
    widen[before + np.arange(channels), np.arange(channels)] = 1
    builder.node("Conv", [source, builder.weight(f"{out}_widen", widen)], out, kernel_shape=[1, 1])


def _resize_bilinear(builder: Builder, operation: Operation) -> None:
    options, out = operation.options, tensor_name(operation.outputs[0])
    if options.AlignCorners():
        raise ValueError("RESIZE_BILINEAR with align_corners is not supported")
    before = np.array(builder.graph.shapes[operation.inputs[0]][1:3])
    after = np.array(builder.graph.shapes[operation.outputs[0]][1:3])
    scales = np.array([1, 1, *(after / before)], np.float32)
    builder.node(
        "Resize",
        [tensor_name(operation.inputs[0]), "", builder.weight(f"{out}_scales", scales)],
        out,
        mode="linear",
        coordinate_transformation_mode="half_pixel" if options.HalfPixelCenters() else "asymmetric",
    )


def _depth_to_space(builder: Builder, operation: Operation) -> None:
    builder.node(
        "DepthToSpace",
        [tensor_name(operation.inputs[0])],
        tensor_name(operation.outputs[0]),
        blocksize=operation.options.BlockSize(),
        mode="DCR",
    )


def _reshape(builder: Builder, operation: Operation) -> None:
    """A feature map's cells made a list: (1, H, W, a * C) to (1, H * W * a, C)."""
    out = tensor_name(operation.outputs[0])
    after = builder.graph.shapes[operation.outputs[0]]
    if len(builder.graph.shapes[operation.inputs[0]]) != 4 or len(after) != 3:
        raise ValueError("RESHAPE is supported from a picture to a list only")
    nhwc = builder.node(
        "Transpose", [tensor_name(operation.inputs[0])], f"{out}_nhwc", perm=[0, 2, 3, 1]
    )
    shape = np.array([0, -1, after[2]], np.int64)
    builder.node("Reshape", [nhwc, builder.weight(f"{out}_shape", shape)], out)


def _concatenation(builder: Builder, operation: Operation) -> None:
    if len(builder.graph.shapes[operation.outputs[0]]) == 4:
        raise ValueError("CONCATENATION of pictures is not supported")
    names = [tensor_name(i) for i in operation.inputs]
    builder.node("Concat", names, tensor_name(operation.outputs[0]), axis=operation.options.Axis())


def _elementwise(kind: str) -> Callable[[Builder, Operation], None]:
    def converter(builder: Builder, operation: Operation) -> None:
        builder.node(kind, [tensor_name(operation.inputs[0])], tensor_name(operation.outputs[0]))

    return converter


CONVERTERS: dict[str, Callable[[Builder, Operation], None]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "MAX_POOL_2D": _max_pool,
    "ADD": _add,
    "PRELU": _prelu,
    "PAD": _pad,
    "RESIZE_BILINEAR": _resize_bilinear,
    "DEPTH_TO_SPACE": _depth_to_space,
    "RESHAPE": _reshape,
    "CONCATENATION": _concatenation,
    "RELU": _elementwise("Relu"),
    "LOGISTIC": _elementwise("Sigmoid"),
}
