"""Parameters and GFLOP of a network by module; one multiply-add is 2 FLOP.

Counted are convolutions and matrix products, which are all but a few percent of the work.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowface_ros.align.network.networks import Network

FLOP_PER_MAC = 2
_REPEAT = re.compile(r"(\.\d+)?(_\d+)?$")
"""A module's place in its list, and what the exporter adds to its scope when it is run again."""
GIGA = 1e9
OTHER = "between the modules"
"""The correlation volume, and the products with atlas constants."""


@dataclass(frozen=True)
class ModuleCost:
    """Cost of one module for one crop; `constants` are stored numbers that are not learned."""

    name: str
    parameters: int
    constants: int
    gflop: float


def total(costs: Sequence[ModuleCost]) -> ModuleCost:
    """The sum, named `total`."""
    return ModuleCost(
        "total",
        sum(cost.parameters for cost in costs),
        sum(cost.constants for cost in costs),
        sum(cost.gflop for cost in costs),
    )


def network_cost(network: Network) -> list[ModuleCost]:
    """Costs of a torch network; the UV encoding counts as baked, so it has constants only."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from flowface_ros.align.network.export import deployed_network

    kind = type(network).__name__
    learned = {name: _size(module.parameters()) for name, module in network.named_children()}
    baked = deployed_network(network).network
    side = network.config.crop_px
    # The counter does not know the CPU's fused attention.
    plain_attention = sdpa_kernel(SDPBackend.MATH)
    with torch.no_grad(), plain_attention, FlopCounterMode(display=False, depth=3) as counter:
        baked(torch.zeros(1, 3, side, side), every_iteration=False)
    flop = {
        module: sum(operations.values()) for module, operations in counter.get_flop_counts().items()
    }
    costs = [
        ModuleCost(
            name,
            learned.get(name, 0),
            _size(module.buffers()),
            _flop_of(flop, f"{kind}.{name}") / GIGA,
        )
        for name, module in baked.named_children()
    ]
    rest = sum(_flop_of(flop, f"{kind}.{cost.name}") for cost in costs)
    own_buffers = _size(baked.buffers(recurse=False))
    return [*costs, ModuleCost(OTHER, 0, own_buffers, (flop["Global"] - rest) / GIGA)]


def onnx_cost(path: Path) -> list[ModuleCost]:
    """Costs of an ONNX file by the first scope of its nodes' names, from the shapes of one run.

    The file does not tell parameters from constants: all stored floating point numbers count as
    parameters, all others as constants. Where the picture's size is free, the cost is that of one
    pixel. Raises ValueError that names the file when it is not an ONNX network.
    """
    import numpy as np
    from onnx.helper import tensor_dtype_to_np_dtype

    from flowface_ros.align.network.metadata import load_model

    parameters: dict[str, int] = defaultdict(int)
    constants: dict[str, int] = defaultdict(int)
    flop: dict[str, float] = defaultdict(float)
    for array in load_model(path).graph.initializer:
        floating = np.issubdtype(tensor_dtype_to_np_dtype(array.data_type), np.floating)
        stored = parameters if floating else constants
        stored[_scope(array.name, ".")] += math.prod(array.dims)
    for event in _profile(path):
        flop[_scope(event["name"], "/")] += _event_flop(event["args"])
    names = parameters.keys() | constants.keys() | {name for name in flop if flop[name]}
    return [
        ModuleCost(name, parameters[name], constants[name], flop[name] / GIGA)
        for name in sorted(names)
    ]


def cost_table(costs: Sequence[ModuleCost]) -> str:
    """A text table, one line per module and the total."""
    lines = [f"{'module':<28}{'parameters':>13}{'constants':>13}{'GFLOP':>10}"]
    lines += [
        f"{cost.name:<28}{cost.parameters:>13,}{cost.constants:>13,}{cost.gflop:>10.3f}"
        for cost in [*costs, total(costs)]
    ]
    return "\n".join(lines)


def _flop_of(flop: Mapping[str, float], module: str) -> float:
    """Of a module; a list of modules is none itself."""
    if module in flop:
        return flop[module]
    return sum(value for name, value in flop.items() if _REPEAT.sub("", name) == module)


def _size(tensors: Any) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _scope(name: str, separator: str) -> str:
    """`network/encoder/stem/Conv` -> `encoder`; names without a module go to `OTHER`."""
    parts = name.strip(separator).removeprefix(f"network{separator}").split(separator)
    return _REPEAT.sub("", parts[0]) if len(parts) > 1 else OTHER


def _profile(path: Path) -> list[Mapping[str, Any]]:
    """ONNX Runtime's record of every node in one run on zeros, nodes as in the file."""
    import onnxruntime

    from flowface_ros.align.onnx_session import tensor_spec, zeros

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = f"{folder}/profile"
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            specs = {i.name: tensor_spec(i, str(path)) for i in session.get_inputs()}
            session.run(None, zeros(specs, 1))
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise ValueError(f"{path}: ONNX Runtime cannot run it: {error}") from error
        text = Path(session.end_profiling()).read_text(encoding="utf-8", errors="replace")
    events = json.loads(text)
    return [event for event in events if event.get("cat") == "Node" and "op_name" in event["args"]]


def _event_flop(args: Mapping[str, Any]) -> float:
    """FLOP of one node from the shapes of its inputs and output."""
    kind = args["op_name"]
    if kind not in ("Conv", "MatMul", "Gemm") or "output_type_shape" not in args:
        return 0.0
    inputs = [next(iter(entry.values())) for entry in args["input_type_shape"]]
    output = next(iter(args["output_type_shape"][0].values()))
    # A kernel is (out, in / groups, height, width): each output sums over all but the first.
    terms = math.prod(inputs[1][1:]) if kind == "Conv" else inputs[0][-1]
    return FLOP_PER_MAC * math.prod(output) * terms
