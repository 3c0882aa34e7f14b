"""One or several training processes, as `torchrun` starts them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True)
class Processes:
    """rank: of this process among `world`. device: what it trains on."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def barrier(self) -> None:
        if self.world > 1:
            distributed.barrier()

    def any_of(self, condition: bool) -> bool:
        """Whether the condition holds in any of the processes."""
        if self.world == 1:
            return condition
        flag = torch.tensor(float(condition), device=self.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag.item())

    def close(self) -> None:
        if self.world > 1:
            distributed.destroy_process_group()


def start_processes(device: str) -> Processes:
    """device: cpu, cuda, cuda:N or auto. Under torchrun each process takes its own GPU.

    Raises ValueError for a device that is not there.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", device):
        raise ValueError(f"device is {device!r}, must be cpu, cuda, cuda:N or auto")
    if device == "cuda":
        device = f"cuda:{local}"
    chosen = torch.device(device)
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not 0 <= chosen.index < count:
            raise ValueError(f"device is {device!r}, but torch sees {count} CUDA devices")
        torch.cuda.set_device(chosen)
    if world > 1:
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return Processes(rank, world, chosen)
