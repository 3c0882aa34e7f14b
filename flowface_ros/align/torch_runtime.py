"""Runs an exported flow network with torch: same interface and same answers as `OnnxSession`.

For GPUs whose onnxruntime-gpu is not to be had, and to time ONNX Runtime against.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowface_ros.align.network.export import DeployedNetwork, load_onnx
from flowface_ros.align.onnx_session import (
    Device,
    DeviceError,
    TensorSpec,
    check_inputs,
    check_options,
    parse_device,
    zeros,
)

CAPTURE_WARM_UP = 3
"""Runs before a CUDA graph is captured, in which cuDNN and the allocator settle."""


class TorchSession:
    """An exported flow network, loaded into torch.

    network: ONNX file of a flow network.
    device: `auto` (the first CUDA device if there is one, else the CPU), `cpu` or `cuda:N`.
    precision: `fp32`, or `fp16` on a GPU: features in float16, positions in float32.
    threads: CPU threads; torch has one setting for the whole process.
    compiled: run through torch.compile, which takes a minute at the first call.
    cuda_graphs: replay a recorded graph per batch size, which saves the launches.

    Raises ValueError for a bad argument or file, DeviceError when the device cannot be had.
    """

    def __init__(
        self,
        network: Path,
        device: str = "auto",
        precision: str = "fp32",
        threads: int = 1,
        *,
        compiled: bool = False,
        cuda_graphs: bool = False,
    ) -> None:
        check_options(precision, threads)
        self.device = _find_device(device)
        if self.device.kind == "cpu":
            if precision == "fp16":
                raise ValueError("precision is 'fp16', but the CPU needs 'fp32'")
            if cuda_graphs:
                raise ValueError("cuda_graphs is true, but the device is the CPU")
            torch.set_num_threads(threads)
        self._network, self.metadata = load_onnx(network)
        self._torch_device = torch.device(str(self.device))
        self._network.to(self._torch_device)
        self._names = self._network.output_names
        self._forward = torch.compile(self._network) if compiled else self._network
        self._half = precision == "fp16"
        self._graphs: dict[int, _RecordedGraph] | None = {} if cuda_graphs else None
        side = self.metadata.config.crop_px
        self.inputs = {"image": TensorSpec(np.uint8, (None, side, side, 3))}
        self.outputs = _output_specs(self._network)

    def run(self, **inputs: NDArray) -> dict[str, NDArray]:
        """As `OnnxSession.run`."""
        if check_inputs(inputs, self.inputs) == 0:
            return zeros(self.outputs, 0)
        values = self._run(torch.from_numpy(np.ascontiguousarray(inputs["image"])))
        return {name: value.cpu().numpy() for name, value in zip(self._names, values, strict=True)}

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None:
        """As `OnnxSession.warm_up`; compiles and records what will be run."""
        for batch in batch_sizes:
            self.run(**zeros(self.inputs, batch))

    def _run(self, image: Tensor) -> tuple[Tensor, ...]:
        if self._graphs is None:
            return self._infer(image.to(self._torch_device))
        batch = len(image)
        if batch not in self._graphs:
            self._graphs[batch] = _RecordedGraph(self._infer, image.to(self._torch_device))
        return self._graphs[batch].replay(image)

    @torch.inference_mode()
    def _infer(self, image: Tensor) -> tuple[Tensor, ...]:
        # TensorFloat-32 has ten bits of mantissa: a tenth of a pixel in a position.
        with (
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
            torch.autocast(self._torch_device.type, torch.float16, enabled=self._half),
        ):
            return tuple(value.float() for value in self._forward(image))


class _RecordedGraph:
    """One CUDA graph with its fixed input and outputs."""

    def __init__(self, infer: Callable[[Tensor], tuple[Tensor, ...]], image: Tensor) -> None:
        self._image = image
        stream = torch.cuda.Stream(image.device)
        stream.wait_stream(torch.cuda.current_stream(image.device))
        with torch.cuda.device(image.device), torch.cuda.stream(stream):
            for _ in range(CAPTURE_WARM_UP):
                infer(image)
        torch.cuda.current_stream(image.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(image.device), torch.cuda.graph(self._graph):
            self._outputs = infer(image)

    def replay(self, image: Tensor) -> tuple[Tensor, ...]:
        self._image.copy_(image)
        self._graph.replay()
        return self._outputs


def _find_device(name: str) -> Device:
    if name == "auto":
        return Device("cuda" if torch.cuda.is_available() else "cpu")
    device = parse_device(name)
    if device.kind == "tensorrt":
        raise ValueError(f"device is {name!r}, the torch runtime has 'auto', 'cpu' and 'cuda:N'")
    if device.kind == "cuda" and device.index >= torch.cuda.device_count():
        raise DeviceError(f"device {device}: torch finds {torch.cuda.device_count()} CUDA devices")
    return device


def _output_specs(network: DeployedNetwork) -> dict[str, TensorSpec]:
    count = network.count
    shapes: dict[str, tuple[int | None, ...]] = {
        "position_px": (None, count, 2),
        "log_sigma": (None, count),
        "presence": (None,),
    }
    return {name: TensorSpec(np.float32, shapes[name]) for name in network.output_names}
