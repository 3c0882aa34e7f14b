"""Runs one ONNX network on the device that was asked for, and on no other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

WEIGHTS_FOLDER = Path(__file__).parent / "weights"

_PROVIDER = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_DTYPE: dict[str, type[np.generic]] = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
}
_ERRORS_ONLY = 3


class DeviceError(RuntimeError):
    """The device that was asked for cannot run the network."""


@dataclass(frozen=True)
class Device:
    """A parsed device name: `cpu`, `cuda:N` or `tensorrt:N`."""

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"


@dataclass(frozen=True)
class TensorSpec:
    """What a network takes or gives under one name; a free dimension is None."""

    dtype: type[np.generic]
    shape: tuple[int | None, ...]


class OnnxSession:
    """An ONNX network, loaded.

    network: file, or the file's content.
    device: `auto` (the first CUDA device if it works, else the CPU), `cpu`, `cuda:N`,
        `tensorrt:N`; N is 0 when left away.
    precision: `fp32` or `fp16`; `fp16` needs a GPU.
    threads: CPU threads. They share the work inside one operator; of a small network, whose
        operators are done sooner than threads wake up, they share the pictures of a batch.
    small: whether it is one: some milliseconds a picture.

    Raises ValueError for a bad argument or file, DeviceError when the device cannot be had:
    ONNX Runtime by itself would fall back to the CPU in silence.
    """

    def __init__(
        self,
        network: Path | bytes,
        device: str = "auto",
        precision: str = "fp32",
        threads: int = 1,
        small: bool = False,
    ) -> None:
        check_options(precision, threads)
        content = network if isinstance(network, bytes) else Path(network).read_bytes()
        name = "network" if isinstance(network, bytes) else str(network)
        inside = 1 if small else threads
        self._session, self.device = _open(content, name, device, precision, inside)
        self._workers = None
        if small and threads > 1 and self.device.kind == "cpu":
            self._workers = ThreadPoolExecutor(threads)
        self.inputs = {i.name: tensor_spec(i, name) for i in self._session.get_inputs()}
        self.outputs = {o.name: tensor_spec(o, name) for o in self._session.get_outputs()}
        self._binding: DeviceBinding | None = None

    def run(self, **inputs: NDArray) -> dict[str, NDArray]:
        """Outputs by name, on the host, for inputs by name.

        The batch, the first dimension, is free where the network's is; an empty batch gives empty
        outputs. Raises ValueError for a name, type or shape that the network does not take.
        """
        batch = check_inputs(inputs, self.inputs)
        if batch == 0:
            return zeros(self.outputs, 0)
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        free = all(spec.shape[0] is None for spec in self.inputs.values())
        if self.device.kind == "cpu":
            values = self._run_singly(arrays, batch if free else 1)
        else:
            values = self._bind(arrays).run(arrays)
        return dict(zip(self.outputs, values, strict=True))

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None:
        """Runs zeros, so that the first real picture does not pay for allocation and tuning."""
        for batch in batch_sizes:
            self.run(**zeros(self.inputs, batch))

    def _run_singly(self, arrays: dict[str, NDArray], count: int) -> list[NDArray]:
        """In so many parts. Pictures are no faster together on a CPU, and alone the answer to one
        does not depend, in its last digits, on how many others there are."""
        parts = [
            dict(zip(arrays, part, strict=True))
            for part in zip(*(np.array_split(a, count) for a in arrays.values()), strict=True)
        ]
        spread = map if self._workers is None else self._workers.map
        answers = spread(lambda part: self._session.run(None, part), parts)
        return [np.concatenate(values) for values in zip(*answers, strict=True)]

    def _bind(self, arrays: dict[str, NDArray]) -> DeviceBinding:
        shapes = {name: array.shape for name, array in arrays.items()}
        if self._binding is None or self._binding.shapes != shapes:
            self._binding = DeviceBinding(
                self._session, arrays, list(self.outputs), "cuda", self.device.index
            )
        return self._binding


class DeviceBinding:
    """Device buffers for inputs of one set of shapes, reused from call to call.

    session: ONNX Runtime's. arrays: inputs of the shapes to come. outputs: names.
    memory, index: where the buffers are, `cuda` or `cpu` and the device's number.
    """

    def __init__(
        self, session: Any, arrays: dict[str, NDArray], outputs: list[str], memory: str, index: int
    ) -> None:
        self.shapes = {name: array.shape for name, array in arrays.items()}
        self._session, self._binding = session, session.io_binding()
        self._values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(array.copy(), memory, index)
            for name, array in arrays.items()
        }
        for name, value in self._values.items():
            self._binding.bind_ortvalue_input(name, value)
        for name in outputs:
            self._binding.bind_output(name, memory, index)

    def run(self, arrays: dict[str, NDArray]) -> list[NDArray]:
        """Outputs, on the host, of inputs of the shapes that this was made for."""
        for name, array in arrays.items():
            self._values[name].update_inplace(array)
        self._session.run_with_iobinding(self._binding)
        return self._binding.copy_outputs_to_cpu()


def parse_device(device: str) -> Device:
    """The device of a name other than `auto`. Raises ValueError for an unknown name."""
    match = re.fullmatch(r"(cpu)|(cuda|tensorrt)(?::(\d+))?", device)
    if match is None:
        allowed = "'auto', 'cpu', 'cuda:N', 'tensorrt:N'"
        raise ValueError(f"device is {device!r}, allowed are {allowed}")
    return Device(match[1] or match[2], int(match[3] or 0))


def check_options(precision: str, threads: int) -> None:
    """Raises ValueError for what no session takes."""
    if precision not in ("fp32", "fp16"):
        raise ValueError(f"precision is {precision!r}, allowed are 'fp32' and 'fp16'")
    if threads < 1:
        raise ValueError(f"threads is {threads}, must be at least 1")


def check_inputs(inputs: Mapping[str, NDArray], specs: Mapping[str, TensorSpec]) -> int:
    """The batch's size. Raises ValueError for a name, type or shape that is not as specified."""
    if inputs.keys() != specs.keys():
        raise ValueError(f"inputs are {sorted(inputs)}, the network takes {list(specs)}")
    for name, spec in specs.items():
        array = inputs[name]
        if array.dtype != spec.dtype:
            raise ValueError(f"{name} is {array.dtype}, must be {np.dtype(spec.dtype)}")
        fits = len(array.shape) == len(spec.shape) and all(
            want is None or got == want for got, want in zip(array.shape, spec.shape, strict=True)
        )
        if not fits:
            raise ValueError(f"{name} has shape {array.shape}, must be {spec.shape}")
    return min(len(array) for array in inputs.values())


def zeros(specs: Mapping[str, TensorSpec], batch: int) -> dict[str, NDArray]:
    """Arrays by name; free dimensions other than the batch, the first, are 1."""
    return {
        name: np.zeros((batch, *(n or 1 for n in spec.shape[1:])), spec.dtype)
        for name, spec in specs.items()
    }


def tensor_spec(argument: Any, network: str) -> TensorSpec:
    """Of an input or output of ONNX Runtime's. ValueError names the network, if it has a type that
    no network here has."""
    if argument.type not in _DTYPE:
        allowed = ", ".join(_DTYPE)
        raise ValueError(f"{network}: {argument.name} is {argument.type}, allowed are {allowed}")
    shape = tuple(n if isinstance(n, int) else None for n in argument.shape)
    return TensorSpec(_DTYPE[argument.type], shape)


def _open(
    content: bytes, name: str, device: str, precision: str, threads: int
) -> tuple[Any, Device]:
    if device != "auto":
        asked = parse_device(device)
        return _session(content, name, asked, precision, threads), asked
    cuda = Device("cuda", 0)
    if _PROVIDER["cuda"] in onnxruntime.get_available_providers():
        try:
            return _session(content, name, cuda, precision, threads), cuda
        except DeviceError:
            pass
    cpu = Device("cpu")
    return _session(content, name, cpu, precision, threads), cpu


def _session(content: bytes, name: str, device: Device, precision: str, threads: int) -> Any:
    if device.kind == "cpu" and precision == "fp16":
        raise ValueError("precision is 'fp16', but the network runs on the CPU, which needs 'fp32'")
    available = onnxruntime.get_available_providers()
    if _PROVIDER[device.kind] not in available:
        raise DeviceError(f"device {device}: this ONNX Runtime has only {', '.join(available)}")
    if device.kind != "cpu":
        onnxruntime.preload_dlls()
    if device.kind == "cuda" and precision == "fp16":
        from flowface_ros.align.half_precision import half_precision

        content = half_precision(content)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=_providers(device, precision)
        )
    except Exception as error:  # onnxruntime's exceptions share no public base class
        if device.kind != "cpu":
            raise DeviceError(f"device {device}: {error}") from error
        raise ValueError(f"{name} is not a network that ONNX Runtime can load: {error}") from error
    if session.get_providers()[0] != _PROVIDER[device.kind]:
        raise DeviceError(
            f"device {device}: ONNX Runtime runs {session.get_providers()[0]} instead"
        )
    return session


def _providers(device: Device, precision: str) -> list[Any]:
    cuda_options = {
        "device_id": device.index,
        # The default tries all algorithms anew for every batch size: seconds each time.
        "cudnn_conv_algo_search": "HEURISTIC",
        # TensorFloat-32 has ten bits of mantissa: a tenth of a pixel in a position.
        "use_tf32": 0,
    }
    cuda: Any = (_PROVIDER["cuda"], cuda_options)
    if device.kind == "cpu":
        return [_PROVIDER["cpu"]]
    if device.kind == "cuda":
        return [cuda, _PROVIDER["cpu"]]
    tensorrt_options = {"device_id": device.index, "trt_fp16_enable": precision == "fp16"}
    return [(_PROVIDER["tensorrt"], tensorrt_options), cuda, _PROVIDER["cpu"]]
