"""A network's weights on disk while it is being trained; shipped networks are ONNX files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from flowface_ros.align.network.config import NetworkConfig
from flowface_ros.align.network.constants import blank_constants
from flowface_ros.align.network.networks import Network, make_network, take_atlas

CHECKPOINT_VERSION = 1


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
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: not a checkpoint: {error}") from error
    if not isinstance(content, dict) or content.get("version") != CHECKPOINT_VERSION:
        raise ValueError(f"{path}: version: must be {CHECKPOINT_VERSION}")
    missing = {"config", "atlas_hash", "landmark_offset_px", "network", "training"} - set(content)
    if missing:
        raise ValueError(f"{path}: fields missing: {', '.join(sorted(missing))}")
    try:
        config = NetworkConfig.from_json(content["config"])
        network = make_network(config, blank_constants(config))
        take_atlas(network, {name: t.clone() for name, t in content["network"].items()})
        network.load_state_dict(content["network"])
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: network: {error}") from error
    network.atlas_hash = content["atlas_hash"]
    network.landmark_offset_px = content["landmark_offset_px"]
    return network, content["training"]
