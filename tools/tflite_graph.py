"""Reads a TFLite flatbuffer into a list of operations and a dictionary of constants.

Covers what convolutional networks with float16, possibly sparse, weights need. DEQUANTIZE and
DENSIFY of constants are carried out while reading, so they never appear as operations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

_OPERATOR_NAME = {
    code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)
}
_DTYPE = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
    tflite.TensorType.UINT8: np.uint8,
    tflite.TensorType.INT64: np.int64,
    tflite.TensorType.INT8: np.int8,
}
_OPTIONS = {
    "CONV_2D": tflite.Conv2DOptions,
    "DEPTHWISE_CONV_2D": tflite.DepthwiseConv2DOptions,
    "MAX_POOL_2D": tflite.Pool2DOptions,
    "ADD": tflite.AddOptions,
    "CONCATENATION": tflite.ConcatenationOptions,
    "RESIZE_BILINEAR": tflite.ResizeBilinearOptions,
    "DEPTH_TO_SPACE": tflite.DepthToSpaceOptions,
}
_INDEX_VECTOR = {
    tflite.SparseIndexVector.Int32Vector: tflite.Int32Vector,
    tflite.SparseIndexVector.Uint16Vector: tflite.Uint16Vector,
    tflite.SparseIndexVector.Uint8Vector: tflite.Uint8Vector,
}
_CONSTANT_ONLY = ("DEQUANTIZE", "DENSIFY")


@dataclass(frozen=True)
class Operation:
    """One operator: its TFLite name, tensor ids, and options object (None when it has none)."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


@dataclass(frozen=True)
class Graph:
    """A TFLite subgraph in execution order; tensors are known by their ids, NHWC."""

    operations: list[Operation]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: dict[int, tuple[int, ...]]
    names: dict[int, str]
    constants: dict[int, NDArray] = field(repr=False)
    """float16 weights stay float16"""


def read_graph(content: bytes) -> Graph:
    """The first subgraph of a TFLite file's content.

    Raises ValueError when the content is no TFLite file or uses a sparse layout or a tensor type
    that is not supported.
    """
    if content[4:8] != b"TFL3":
        raise ValueError("not a TFLite file: the identifier TFL3 is missing")
    model = tflite.Model.GetRootAsModel(content, 0)
    subgraph = model.Subgraphs(0)
    tensors = [subgraph.Tensors(i) for i in range(subgraph.TensorsLength())]
    shapes = {i: _shape(tensor) for i, tensor in enumerate(tensors)}
    constants = {}
    for i, tensor in enumerate(tensors):
        buffer = model.Buffers(tensor.Buffer())
        if buffer.DataLength():
            constants[i] = _constant(tensor, buffer.DataAsNumpy(), shapes[i])
    operations = []
    for i in range(subgraph.OperatorsLength()):
        operation = _operation(model, subgraph.Operators(i))
        if operation.name in _CONSTANT_ONLY:
            constants[operation.outputs[0]] = constants[operation.inputs[0]]
        else:
            operations.append(operation)
    return Graph(
        operations=operations,
        inputs=tuple(subgraph.InputsAsNumpy().tolist()),
        outputs=tuple(subgraph.OutputsAsNumpy().tolist()),
        shapes=shapes,
        names={i: tensor.Name().decode() for i, tensor in enumerate(tensors)},
        constants=constants,
    )


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(tensor.ShapeAsNumpy().tolist()) if tensor.ShapeLength() else ()


def _operation(model: Any, operator: Any) -> Operation:
    code = model.OperatorCodes(operator.OpcodeIndex())
    # Old files have the code in the deprecated field only, new ones a placeholder there.
    name = _OPERATOR_NAME[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
    options = None
    if name in _OPTIONS and operator.BuiltinOptions() is not None:
        table = operator.BuiltinOptions()
        options = _OPTIONS[name]()
        options.Init(table.Bytes, table.Pos)
    inputs = tuple(operator.InputsAsNumpy().tolist())
    return Operation(name, inputs, tuple(operator.OutputsAsNumpy().tolist()), options)


def _constant(tensor: Any, data: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray:
    if tensor.Type() not in _DTYPE:
        raise ValueError(f"tensor {tensor.Name().decode()}: type {tensor.Type()} is not supported")
    dtype = _DTYPE[tensor.Type()]
    sparsity = tensor.Sparsity()
    if sparsity is None:
        return data.view(dtype).reshape(shape)
    segments, indices = _row_segments(tensor, sparsity, shape)
    values = data[: len(indices) * np.dtype(dtype).itemsize].view(dtype)
    return densify(values, segments, indices, shape)


def _row_segments(tensor: Any, sparsity: Any, shape: tuple[int, ...]) -> tuple[NDArray, NDArray]:
    """Compressed rows of a tensor whose last dimension alone is sparse."""
    dimensions = [sparsity.DimMetadata(i) for i in range(sparsity.DimMetadataLength())]
    formats = [dimension.Format() for dimension in dimensions]
    in_order = sparsity.TraversalOrderAsNumpy().tolist() == list(range(len(shape)))
    rows_only = formats == [0] * (len(shape) - 1) + [1]
    if not in_order or not rows_only or sparsity.BlockMapLength():
        raise ValueError(f"tensor {tensor.Name().decode()}: sparse layout is not supported")
    last = dimensions[-1]
    segments = _index_vector(last.ArraySegmentsType(), last.ArraySegments())
    return segments, _index_vector(last.ArrayIndicesType(), last.ArrayIndices())


def _index_vector(kind: int, table: Any) -> NDArray:
    vector = _INDEX_VECTOR[kind]()
    vector.Init(table.Bytes, table.Pos)
    return vector.ValuesAsNumpy().astype(np.int64)


def densify(
    values: NDArray, segments: NDArray, indices: NDArray, shape: tuple[int, ...]
) -> NDArray:
    """The dense array of compressed sparse rows.

    values, indices: (nonzeros,) value and column of each stored entry.
    segments: (rows + 1,) start of each row in them.
    """
    dense = np.zeros((int(np.prod(shape[:-1])), shape[-1]), values.dtype)
    rows = np.repeat(np.arange(len(dense)), np.diff(segments))
    dense[rows, indices] = values
    return dense.reshape(shape)
