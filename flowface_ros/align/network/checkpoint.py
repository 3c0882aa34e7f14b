"""A network's weights on disk while it is being trained; shipped networks are ONNX files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from flowface_ros.align.network.config import NetworkConfig
from flowface_ros.align.network.constants import blank_constants
from flowface_ros.align.network.networks import Network, make_network, take_atlas

CHECKPOINT_VERSION = 1

_FIELDS = {
    "config": str,
    "atlas_hash": int,
    "landmark_offset_px": float,
    "network": dict,
    "training": dict,
}


def save_checkpoint(
    path: Path, network: Network, training: Mapping[str, Any] | None = None
) -> None:
    """Write the network and, as `training`, anything of tensors and plain values besides.

    Written to a temporary file first, so that an interruption never leaves half a checkpoint.
    """
    content = {
        "version": CHECKPOINT_VERSION,
        "config": network.config.to_json(),
        "atlas_hash": network.atlas_hash,
        "landmark_offset_px": network.landmark_offset_px,
        "network": network.state_dict(),
        "training": dict(training or {}),
    }
    unfinished = path.with_name(path.name + ".part")
    torch.save(content, unfinished)
    unfinished.replace(path)


def load_checkpoint(path: Path) -> tuple[Network, dict[str, Any]]:
    """The network, on the CPU, and what was saved as `training`.

    No code in the file is run. Raises ValueError that names the file and the field.
    """
    with path.open("rb") as file:
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged byte makes of torch's unpickler
            raise ValueError(f"{path}: not a checkpoint, or damaged") from error
    if not isinstance(content, dict) or content.get("version") != CHECKPOINT_VERSION:
        raise ValueError(f"{path}: version: must be {CHECKPOINT_VERSION}")
    for name, kind in _FIELDS.items():
        if not isinstance(content.get(name), kind):
            raise ValueError(f"{path}: {name}: missing, or not of type {kind.__name__}")
    try:
        config = NetworkConfig.from_json(content["config"])
        network = make_network(config, blank_constants(config))
        take_atlas(network, {name: t.clone() for name, t in content["network"].items()})
        network.load_state_dict(content["network"])
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: network: {error}") from error
    network.atlas_hash = content["atlas_hash"]
    network.landmark_offset_px = content["landmark_offset_px"]
    return network, content["training"]
