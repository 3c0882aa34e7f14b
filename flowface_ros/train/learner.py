"""The network with its optimizer: one step, and everything that a resumed run needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from flowface_ros.align.network.checkpoint import load_checkpoint, save_checkpoint
from flowface_ros.align.network.config import preset
from flowface_ros.align.network.head_constants import head_constants
from flowface_ros.align.network.light_network import LightNetwork
from flowface_ros.align.network.networks import Network, new_network
from flowface_ros.head.model import HeadModel
from flowface_ros.train.ema import WeightMean
from flowface_ros.train.loss import LossWeights, flow_loss, stage_weights
from flowface_ros.train.processes import Processes
from flowface_ros.train.run_config import RunConfig
from flowface_ros.train.schedule import rate_factor

_WEIGHT_DECAY = 1e-4
_LARGEST_GRADIENT = 1.0


class LossModule(nn.Module):
    """Network and loss as one module, so that parallel processes share gradients of all of it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, image: Tensor, truth_px: Tensor, visible: Tensor, weights: LossWeights
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `flow_loss`."""
        config = self.network.config
        with torch.autocast(image.device.type, torch.bfloat16, enabled=image.is_cuda):
            output = self.network(image)
        answered = self.network.answered if config.upsample == 1 else None
        return flow_loss(output, truth_px, visible, weights, config.crop_px, answered)


class Learner:
    """network: on its device. step: how many have been taken."""

    def __init__(self, network: Network, config: RunConfig, processes: Processes) -> None:
        self.config, self.processes = config, processes
        self.network = network.to(processes.device).train()
        if isinstance(network, LightNetwork):
            network.encoder.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(network, config), betas=(0.9, 0.98), weight_decay=_WEIGHT_DECAY
        )
        self.mean = WeightMean(network)
        self.step = 0
        self._module: nn.Module = LossModule(network)
        if config.compiled:
            network.compile(dynamic=False)
        if processes.world > 1:
            self._module = DistributedDataParallel(self._module)

    def learn(self, image: Tensor, truth_px: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """One step on a batch (see `Batch`); the loss and its parts, still on the device."""
        # Stochastic depth draws from the global generator: seeded by step, so that a resumed run
        # goes on as if it had never stopped.
        torch.manual_seed(hash((self.config.seed, self.processes.rank, self.step)) % 2**31)
        factor = rate_factor(self.step, self.config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest_lr"] * factor
        weights = stage_weights(self.step / self.config.steps)
        loss, parts = self._module(image, truth_px, visible, weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._trained(), _LARGEST_GRADIENT)
        self.optimizer.step()
        self.step += 1
        self.mean.update(self.network, self.step)
        return {"loss": loss.detach(), "gradient": norm, **parts}

    def _trained(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def save(self, path: Path) -> None:
        """ValueError, and the file stays as it was, when training has diverged."""
        if not all(bool(value.isfinite().all()) for value in self.mean.values.values()):
            raise ValueError(
                f"after step {self.step} the weights are not finite; {path} is not written: "
                "start anew with a lower rate"
            )
        training = {
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "mean": self.mean.values,
        }
        save_checkpoint(path, self.network, training)

    def restore(self, path: Path) -> None:
        """Raises ValueError when the file is of another network, or not the state of a run."""
        saved, training = load_checkpoint(path)
        if missing := {"optimizer", "mean", "step"} - set(training):
            raise ValueError(f"{path}: is not the state of a run: it has no {sorted(missing)}")
        if saved.config != self.network.config or saved.atlas_hash != self.network.atlas_hash:
            raise ValueError(f"{path}: is of another network or atlas than this run's")
        self.network.load_state_dict(saved.state_dict())
        self.optimizer.load_state_dict(training["optimizer"])
        self.mean.load(training["mean"])
        self.step = int(training["step"])


def start_network(config: RunConfig, model: HeadModel) -> Network:
    """The untrained network of a run; the seed decides its random weights."""
    chosen = preset(config.preset)
    torch.manual_seed(config.seed)
    return new_network(chosen, head_constants(chosen, model))


def _parameter_groups(network: Network, config: RunConfig) -> list[dict[str, Any]]:
    """Weights decay, vectors do not."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim >= 2]
    vectors = [parameter for parameter in trained if parameter.ndim < 2]
    return [
        {
            "params": parameters,
            "lr": config.learning_rate,
            "highest_lr": config.learning_rate,
            "weight_decay": decay,
        }
        for parameters, decay in ((matrices, _WEIGHT_DECAY), (vectors, 0.0))
    ]
