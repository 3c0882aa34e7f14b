"""What feeds training, in pictures a second: people, the CPU renderer, the batched renderer by
stage, the bad camera, and a step of each network."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any

import harness

harness.pin_threads(1)

import numpy as np  # noqa: E402
import torch  # noqa: E402

from flowface_ros.align.network.config import preset  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402
from flowface_ros.train.augment import augment  # noqa: E402
from flowface_ros.train.batch import Batch  # noqa: E402
from flowface_ros.train.gpu import raster_cuda, render  # noqa: E402
from flowface_ros.train.gpu.asset import person_asset  # noqa: E402
from flowface_ros.train.gpu.source import GpuSource  # noqa: E402
from flowface_ros.train.learner import Learner, start_network  # noqa: E402
from flowface_ros.train.processes import Processes  # noqa: E402
from flowface_ros.train.run_config import RunConfig  # noqa: E402
from flowface_ros.train.studio import Studio, SynthConfig, make_person  # noqa: E402

Row = dict[str, Any]


def _rate(name: str, pictures: int, call: Callable[[], object], repeats: int, device: str) -> Row:
    """Best of some repeats; a GPU is waited for."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    best = min(times[1:])
    return {"what": name, "batch": pictures, "ms": 1e3 * best, "per_s": pictures / best}


def _cpu_rows(config: SynthConfig, repeats: int) -> list[Row]:
    model = load_builtin_head()
    numbers, size = itertools.count(), config.batch_size
    studio = Studio(model, config)
    calls: list[tuple[str, int, Callable[[], object]]] = [
        ("a person", 1, lambda: make_person(model, config, next(numbers))),
        ("a person's arrays", 1, lambda: person_asset(studio.person(0))),
        ("CPU renderer, people made anew", size, lambda: studio.batch(next(numbers))),
        ("CPU renderer, people known", size, lambda: studio.batch(0)),
    ]
    return [_rate(name, pictures, call, repeats, "cpu") for name, pictures, call in calls]


def _source_rows(
    source: GpuSource, size: int, repeats: int, device: str
) -> tuple[list[Row], Batch]:
    """The batched renderer as a whole and its stages, which are timed inside of it."""
    batches = source.batches(0)
    batch = next(batches)
    rows = [_rate("batched renderer", size, lambda: next(batches), repeats, device)]
    stages = ("rasterize", "cast_shadows", "_blended", "lay_glass")
    rows += [_stage_row(name, batches, size, repeats, device) for name in stages]
    return rows, batch


def _stage_row(name: str, batches: Any, size: int, repeats: int, device: str) -> Row:
    plain, spent = getattr(render, name), [0.0]

    def timed(*args: Any) -> Any:
        _wait(device)
        start = time.perf_counter()
        result = plain(*args)
        _wait(device)
        spent[0] += time.perf_counter() - start
        return result

    setattr(render, name, timed)
    try:
        for _ in range(repeats):
            next(batches)
    finally:
        setattr(render, name, plain)
    own = spent[0] / repeats
    return {"what": f"  of it {name}", "batch": size, "ms": 1e3 * own, "per_s": size / own}


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _step_rows(
    batch: Batch, names: list[str], repeats: int, device: str, compiled: bool
) -> list[Row]:
    processes = Processes(0, 1, torch.device(device))
    model, rows, count = load_builtin_head(), [], len(batch)
    image, _ = augment(batch, 0)
    rows.append(_rate("bad camera", count, lambda: augment(batch, 1), repeats, device))
    for name in names:
        config = RunConfig(preset=name, compiled=compiled)
        learner = Learner(start_network(config, model), config, processes)
        grid = int(learner.network.answered.numel())
        truth = torch.rand((count, grid, 2), device=device) * preset(name).crop_px
        step = functools.partial(learner.learn, image, truth, torch.ones_like(truth[..., 0]) > 0)
        rows.append(_rate(f"training step, {name}", count, step, repeats, device))
    return rows


def main() -> None:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, help="pictures (default: 128 on a GPU, else 2)")
    parser.add_argument("--workers", type=int, default=0, help="processes that make people")
    parser.add_argument("--compile", action="store_true", help="shading and steps compiled")
    args = parser.parse_args()
    size = args.batch or (2 if args.device == "cpu" else 128)
    on_cpu = args.device == "cpu"
    people = 8 if on_cpu else 256
    config = SynthConfig(batch_size=size, people=people, fresh_every=10**6)
    repeats = 1 if args.quick else 5
    # So many people that no batch draws one whom an earlier batch has drawn.
    rows = _cpu_rows(SynthConfig(batch_size=2, people=10**6), repeats)
    device = torch.device(args.device)
    source = GpuSource(load_builtin_head(), config, args.workers, device, compiled=args.compile)
    drawn, batch = _source_rows(source, size, repeats, args.device)
    source.close()
    names = ["light"] if on_cpu else ["light", "base"]
    rows += drawn + _step_rows(batch, names, repeats, args.device, args.compile)
    kernel = None if on_cpu else raster_cuda.is_available()
    harness.print_table(rows)
    print(f"device {args.device}, CUDA kernel for the z-buffer: {kernel}")
    print(harness.machine_description())
    if args.json:
        result = {"rows": rows, "device": args.device, "cuda_kernel": kernel}
        if not on_cpu:
            result["gpu"] = torch.cuda.get_device_name()
        harness.write_json(args.json, {**result, "numpy": np.__version__})


if __name__ == "__main__":
    main()
