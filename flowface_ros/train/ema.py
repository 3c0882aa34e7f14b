"""Running mean of the weights, which is what ships."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

DECAY = 0.999


class WeightMean:
    """Mean of the trained parameters over the last thousand steps or so."""

    def __init__(self, network: nn.Module) -> None:
        self.values = {
            name: parameter.detach().clone()
            for name, parameter in network.named_parameters()
            if parameter.requires_grad
        }

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """After a step; the first ones count more, so that the random start is forgotten."""
        decay = min(DECAY, (1 + step) / (10 + step))
        parameters = dict(network.named_parameters())
        names = list(self.values)
        torch._foreach_lerp_(
            [self.values[n] for n in names], [parameters[n].detach() for n in names], 1 - decay
        )

    def load(self, values: dict[str, Tensor]) -> None:
        """Raises ValueError when the values are of another network."""
        if set(values) != set(self.values):
            raise ValueError("mean weights: saved for another network")
        for name, value in values.items():
            self.values[name].copy_(value)

    @torch.no_grad()
    def applied(self, network: nn.Module) -> nn.Module:
        """A copy of the network with these weights, ready for inference."""
        mean = copy.deepcopy(network)
        for name, parameter in mean.named_parameters():
            if name in self.values:
                parameter.copy_(self.values[name])
        return mean.eval()
