"""Makes the network that a configuration asks for."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from flowface_ros.align.network.config import NetworkConfig
from flowface_ros.align.network.constants import AtlasConstants
from flowface_ros.align.network.flow_network import FlowNetwork
from flowface_ros.align.network.light_network import LEVEL_STRIDES, OWN_STAGES, LightNetwork
from flowface_ros.align.network.light_trunk import LANDMARK_NET, load_landmark_trunk

Network = FlowNetwork | LightNetwork

_ATLAS_SIZED = (
    "answered", "correction", "feature_mean", "feature_scale", "fill", "first_log_sigma",
    "first_position", "head.displacement.basis", "head.displacement.constant", "head.first.weight",
    "head.log_sigma.basis", "head.log_sigma.constant", "iris_log_sigma", "landmark_matrix",
    "log_factor", "pose_solve", *(f"sampled_{stride}" for stride in LEVEL_STRIDES), "skin_share",
)  # fmt: skip
"""Weights whose sizes depend on the atlas."""


def make_network(config: NetworkConfig, atlas: AtlasConstants) -> Network:
    """Random weights. Raises ValueError where the constants do not fit the configuration."""
    if config.encoder == "landmark_trunk":
        return LightNetwork(config, atlas)
    return FlowNetwork(config, atlas)


def new_network(config: NetworkConfig, atlas: AtlasConstants) -> Network:
    """A network to be trained: random, but for the light trunk, which is the landmark net."""
    network = make_network(config, atlas)
    if isinstance(network, LightNetwork):
        network.encoder = load_landmark_trunk(LANDMARK_NET)
        for index, stage in zip(OWN_STAGES, network.own_stages, strict=True):
            stage.load_state_dict(network.encoder.stages[index].state_dict())
    return network


def take_atlas(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Replace what is of the atlas's size by stored weights, by name; others are left alone."""
    for name in _ATLAS_SIZED:
        owner, _, leaf = name.rpartition(".")
        if name not in weights or name not in network.state_dict():
            continue
        module = network.get_submodule(owner)
        if leaf in dict(module.named_buffers(recurse=False)):
            setattr(module, leaf, weights[name])
        elif leaf in dict(module.named_parameters(recurse=False)):
            setattr(module, leaf, nn.Parameter(weights[name]))
