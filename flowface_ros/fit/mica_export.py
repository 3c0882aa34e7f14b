"""From a user's MICA checkpoint to an ONNX file. Nothing in the checkpoint is executed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

IGNORED = re.compile(r"(num_batches_tracked|^generator\.)")
"""Keys that the networks do not have: counters of training, and FLAME, which the head replaces."""


def export_mica(checkpoint: Path, out: Path) -> None:
    """Read a checkpoint's weights, rebuild the networks, write them as one ONNX file.

    Input `face` (N, 3, 112, 112) float32 in [-1, 1], output `shape` (N, S).
    ValueError that names the file and the key when the checkpoint is not MICA's or holds anything
    but weights, and without torch and onnx; OSError when a file cannot be read or written.
    """
    try:
        import onnx  # noqa: F401
        import torch
    except ImportError:
        raise ValueError("MICA's checkpoint needs torch: pip install flowface-ros[train]") from None

    from flowface_ros.fit.mica_network import IMAGE_SIZE, Mica

    arcface, mapping = read_checkpoint(checkpoint)
    network = Mica(arcface, mapping).eval()
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE),),
        str(out),
        input_names=["face"],
        output_names=["shape"],
        dynamic_axes={"face": {0: "n"}, "shape": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )


def read_checkpoint(checkpoint: Path) -> tuple[Any, Any]:
    """The ArcFace and the mapping network of a checkpoint file, with its weights."""
    from flowface_ros.fit.mica_network import FEATURES, ArcFace, Mapping

    content = _load(checkpoint)
    arcface_weights = _part(checkpoint, content, "arcface")
    flame_weights = _part(checkpoint, content, "flameModel")
    prefix = "regressor."
    regressor = {k[len(prefix) :]: v for k, v in flame_weights.items() if k.startswith(prefix)}
    count = sum(bool(re.fullmatch(r"network\.\d+\.weight", key)) for key in regressor)
    names = [*(f"network.{i}.weight" for i in range(count)), "output.weight"]
    if not count or any(n not in regressor or regressor[n].ndim != 2 for n in names):
        raise ValueError(
            f"{checkpoint}: flameModel lacks matrices of regressor.network or regressor.output"
        )
    mapping = Mapping((FEATURES, *(len(regressor[name]) for name in names)))
    arcface = ArcFace()
    _fill(checkpoint, "arcface", arcface, arcface_weights)
    _fill(checkpoint, "flameModel.regressor", mapping, regressor)
    return arcface.eval(), mapping.eval()


def _load(checkpoint: Path) -> dict[str, Any]:
    import torch

    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception:  # a damaged file may make torch raise anything, AssertionError for one
        # torch's own text advises to load it without the check, which would run its code.
        raise ValueError(
            f"{checkpoint}: holds more than weights, or is damaged; nothing in it was executed"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{checkpoint}: is a {type(content).__name__}, not a checkpoint")
    return content


def _part(checkpoint: Path, content: dict[str, Any], key: str) -> dict[str, Any]:
    import torch

    part = content.get(key)
    if not isinstance(part, dict):
        raise ValueError(f"{checkpoint}: has no {key!r}; found {sorted(map(str, content))[:8]}")
    part = {re.sub(r"^module\.", "", str(k)): v for k, v in part.items()}
    for name, value in part.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{checkpoint}: {key}.{name} is not a tensor")
        if not torch.isfinite(value).all():
            raise ValueError(f"{checkpoint}: {key}.{name} holds values that are not finite")
    return part


def _fill(checkpoint: Path, name: str, network: Any, weights: dict[str, Any]) -> None:
    kept = {k: v for k, v in weights.items() if not IGNORED.search(k)}
    own = {k: v for k, v in network.state_dict().items() if not IGNORED.search(k)}
    for key, value in own.items():
        if key not in kept:
            raise ValueError(f"{checkpoint}: {name}.{key} is missing")
        if kept[key].shape != value.shape:
            have, want = tuple(kept[key].shape), tuple(value.shape)
            raise ValueError(f"{checkpoint}: {name}.{key} has shape {have}, must be {want}")
    network.load_state_dict({k: kept[k] for k in own}, strict=False)
