"""A flow network to an ONNX file and back.

The file is the one form that networks are shipped in: ONNX Runtime runs it, and the torch runtime
takes config and weights from it. Input and outputs:

    image        (batch, crop_px, crop_px, 3) uint8 RGB
    position_px  (batch, Q, 2) float32, crop pixels, pixel centres at integers
    log_sigma    (batch, Q) float32, log of the standard deviation per axis, crop pixels
    presence     (batch,) float32, probability that the crop holds a face (landmark trunk only)

Q: valid texels of the output grid in row-major order; of the light network the irises' ten points
follow.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from flowface_ros.align.network.constants import IRIS_COUNT, blank_constants
from flowface_ros.align.network.light_network import LightNetwork
from flowface_ros.align.network.metadata import OPSET, NetworkMetadata, load_model, metadata_of
from flowface_ros.align.network.networks import Network, make_network, take_atlas

FEATURE_SCOPES = ("encoder/", "fusion/", "heatmap/project/", "update/", "head/")
"""Scopes of a flow network's graph that hold features only. All other nodes may hold positions in
pixels, for which float16 is too coarse (1/8 px at 128 to 256). The light network's trunk ends in
positions, and what follows is little work."""

HALF_STORED = "network.head."
"""Matrices of the light network that are kept in float16, which halves the file; runtimes make them
float32 when they load it."""


class DeployedNetwork(nn.Module):
    """A baked network with the file's input and outputs."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    @property
    def output_names(self) -> list[str]:
        names = ["position_px", "log_sigma"]
        return [*names, "presence"] if self.network.config.encoder == "landmark_trunk" else names

    @property
    def count(self) -> int:
        """Points that are answered."""
        if isinstance(self.network, LightNetwork):
            return len(self.network.first_log_sigma) + IRIS_COUNT
        return int(self.network.answered.numel())

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, crop_px, crop_px, 3) uint8 -> outputs in the order of `output_names`."""
        output = self.network(image.permute(0, 3, 1, 2).float() / 255.0, every_iteration=False)
        last = (output.position_px[-1], output.log_sigma[-1])
        if output.irises is not None:
            position, log_sigma = output.irises
            last = torch.cat([last[0], position], dim=1), torch.cat([last[1], log_sigma], dim=1)
        if output.presence is None:
            return last
        return (*last, torch.sigmoid(output.presence))


def deployed_network(network: Network) -> DeployedNetwork:
    """A baked copy on the CPU; the network is left as it was."""
    return DeployedNetwork(copy.deepcopy(network).cpu().float().bake()).eval()


def export_onnx(network: Network, path: Path, licence: str = "Apache-2.0") -> None:
    """Write the network, with its UV encoding baked in, to an ONNX file.

    licence: SPDX expression for the weights.
    """
    deployed = deployed_network(network)
    model = onnx.load_from_string(_trace(deployed))
    _expand_shared_weights(model.graph)
    _declare_outputs(model.graph, deployed.count)
    if isinstance(network, LightNetwork):
        _store_half(model.graph, HALF_STORED)
    stored = {array.name for array in model.graph.initializer}
    nodes = [node.name for node in model.graph.node]
    metadata = NetworkMetadata(
        network.config,
        network.atlas_hash,
        network.landmark_offset_px,
        licence,
        float32_nodes=tuple(name for name in nodes if not name.startswith(_half_scopes(network))),
        unused_weights=tuple(name for name in deployed.state_dict() if name not in stored),
    )
    onnx.helper.set_model_props(model, metadata.to_properties())
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def load_onnx(path: Path) -> tuple[DeployedNetwork, NetworkMetadata]:
    """The torch network of an exported file, with its weights.

    Raises ValueError that names the file when it is not an exported flow network.
    """
    model = load_model(path)
    metadata = metadata_of(model, path)
    weights = {array.name: _as_used(array) for array in model.graph.initializer}
    deployed = DeployedNetwork(_skeleton(metadata, weights))
    expected = {
        name: value
        for name, value in deployed.state_dict().items()
        if name not in metadata.unused_weights
    }
    wrong = [
        name
        for name, value in expected.items()
        if name not in weights or weights[name].shape != tuple(value.shape)
    ]
    if wrong:
        raise ValueError(f"{path}: weights missing or of another shape: {', '.join(wrong[:5])}")
    state = {name: torch.from_numpy(weights[name].copy()) for name in expected}
    deployed.load_state_dict(state, strict=False)
    return deployed.eval(), metadata


def _trace(deployed: DeployedNetwork) -> bytes:
    side = deployed.network.config.crop_px
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The tracing exporter's deprecation, and its remarks on shapes that the config fixes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            deployed,
            (torch.zeros(2, side, side, 3, dtype=torch.uint8),),
            buffer,  # type: ignore[arg-type]  # the tracing exporter takes streams
            input_names=["image"],
            output_names=deployed.output_names,
            dynamic_axes={name: {0: "batch"} for name in ["image", *deployed.output_names]},
            opset_version=OPSET,
            # Weights keep their names, so that they can be read back; runtimes fold by themselves.
            do_constant_folding=False,
            dynamo=False,
        )
    return buffer.getvalue()


def _expand_shared_weights(graph: onnx.GraphProto) -> None:
    """Give each weight its own copy: the exporter merges equal ones behind Identity nodes."""
    weights = {array.name: array for array in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in weights:
            array = graph.initializer.add()
            array.CopyFrom(weights[node.input[0]])
            array.name = node.output[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _store_half(graph: onnx.GraphProto, prefix: str) -> None:
    """Keep matrices whose names start so in float16, with a cast to float32 behind them."""
    casts = []
    for array in graph.initializer:
        if not array.name.startswith(prefix) or len(array.dims) != 2:
            continue
        half = numpy_helper.to_array(array).astype(np.float16)
        array.CopyFrom(numpy_helper.from_array(half, array.name))
        cast = f"{array.name}/float32"
        casts.append(
            onnx.helper.make_node("Cast", [array.name], [cast], cast, to=onnx.TensorProto.FLOAT)
        )
    renamed = {node.input[0]: node.output[0] for node in casts}
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _as_used(array: onnx.TensorProto) -> NDArray:
    """A stored weight; what is kept in float16 is computed with in float32."""
    values = numpy_helper.to_array(array)
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _half_scopes(network: Network) -> tuple[str, ...]:
    """Prefixes of the names of nodes that half precision does no harm to."""
    if isinstance(network, LightNetwork):
        return ()
    return tuple(f"/network/{scope}" for scope in FEATURE_SCOPES)


def _declare_outputs(graph: onnx.GraphProto, count: int) -> None:
    """Write the outputs' shapes, which tracing does not always find."""
    shapes = {"position_px": ["batch", count, 2], "log_sigma": ["batch", count]}
    for output in graph.output:
        shape = shapes.get(output.name, ["batch"])
        info = onnx.helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, shape)
        output.CopyFrom(info)


def _skeleton(metadata: NetworkMetadata, weights: Mapping[str, NDArray]) -> Network:
    """A network of the right shapes, whose atlas buffers are those of the file."""
    network = make_network(metadata.config, blank_constants(metadata.config))
    network.atlas_hash = metadata.atlas_hash
    network.landmark_offset_px = metadata.landmark_offset_px
    own = {name.removeprefix("network."): array for name, array in weights.items()}
    take_atlas(network, {name: torch.from_numpy(np.array(a)) for name, a in own.items()})
    return network.blank_bake()
