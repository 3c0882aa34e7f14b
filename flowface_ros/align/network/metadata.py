"""What an exported network's file says about itself; needs only the `onnx` package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from flowface_ros.align.network.config import NetworkConfig

if TYPE_CHECKING:
    import onnx

FORMAT_VERSION = 1
"""Raised when the names, types or meaning of inputs and outputs change."""

OPSET = 17
"""First with LayerNormalization; ONNX Runtime has run it since 1.13."""

_PREFIX = "flowface."

T = TypeVar("T")


@dataclass(frozen=True)
class NetworkMetadata:
    """Metadata of an exported network.

    config: what the network is made of.
    atlas_hash: the atlas whose texels it answers for.
    landmark_offset_px: see AtlasConstants.
    licence: SPDX expression for the weights.
    float32_nodes: nodes that work on positions, to be kept in float32 at half precision.
    unused_weights: weights of the torch network that no output depends on; not in the file.
    format_version: of the file's interface.
    """

    config: NetworkConfig
    atlas_hash: int
    landmark_offset_px: float
    licence: str
    float32_nodes: tuple[str, ...] = ()
    unused_weights: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION

    def to_properties(self) -> dict[str, str]:
        """Metadata properties of an ONNX file."""
        return {
            _PREFIX + "format_version": str(self.format_version),
            _PREFIX + "config": self.config.to_json(),
            _PREFIX + "atlas_hash": f"{self.atlas_hash:016x}",
            _PREFIX + "landmark_offset_px": repr(self.landmark_offset_px),
            _PREFIX + "licence": self.licence,
            _PREFIX + "float32_nodes": "\n".join(self.float32_nodes),
            _PREFIX + "unused_weights": "\n".join(self.unused_weights),
        }

    @staticmethod
    def from_properties(properties: dict[str, str]) -> NetworkMetadata:
        """Raises ValueError that names a property which is missing or broken, or whose format is
        another."""

        def value(name: str, read: Callable[[str], T]) -> T:
            if _PREFIX + name not in properties:
                raise ValueError(f"metadata property {_PREFIX + name} is missing")
            try:
                return read(properties[_PREFIX + name])
            except ValueError as error:
                raise ValueError(f"metadata property {_PREFIX + name}: {error}") from error

        def words(text: str) -> tuple[str, ...]:
            return tuple(text.split())

        return NetworkMetadata(
            format_version=value("format_version", _this_version),
            config=value("config", NetworkConfig.from_json),
            atlas_hash=value("atlas_hash", lambda text: int(text, 16)),
            landmark_offset_px=value("landmark_offset_px", float),
            licence=value("licence", str),
            float32_nodes=value("float32_nodes", words),
            unused_weights=value("unused_weights", words),
        )


def _this_version(text: str) -> int:
    if text != str(FORMAT_VERSION):
        raise ValueError(f"is {text}, this version reads {FORMAT_VERSION}")
    return FORMAT_VERSION


def load_model(path: Path) -> onnx.ModelProto:
    """Raises ValueError that names the file when it is not an ONNX network, or a damaged one: its
    shapes do not fit each other, or a weight is not finite."""
    import onnx
    from onnx import numpy_helper

    content = path.read_bytes()
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        weights = {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}
    except Exception as error:  # the parser, the checker and shape inference have their own each
        first_line = str(error).partition("\n")[0]
        raise ValueError(f"{path}: not an ONNX network, or damaged: {first_line}") from error
    for name, values in weights.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{path}: damaged: weight {name} holds values that are not finite")
    return model


def metadata_of(model: onnx.ModelProto, path: Path) -> NetworkMetadata:
    """Raises ValueError that names the file when its model is not an exported flow network."""
    properties = {entry.key: entry.value for entry in model.metadata_props}
    try:
        return NetworkMetadata.from_properties(properties)
    except ValueError as error:
        raise ValueError(f"{path}: not a flow network: {error}") from error


def read_metadata(path: Path) -> NetworkMetadata:
    """Raises ValueError that names the file when it is not an exported flow network."""
    return metadata_of(load_model(path), path)
