"""What an exported network's file says about itself; needs only the `onnx` package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowface_ros.align.network.config import NetworkConfig

if TYPE_CHECKING:
    import onnx

FORMAT_VERSION = 1
"""Raised when the names, types or meaning of inputs and outputs change."""

OPSET = 17
"""First with LayerNormalization; ONNX Runtime has run it since 1.13."""

_PREFIX = "flowface."


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
        """Raises ValueError for a property that is missing or a format that is too new."""

        def value(name: str) -> str:
            if _PREFIX + name not in properties:
                raise ValueError(f"metadata property {_PREFIX + name} is missing")
            return properties[_PREFIX + name]

        version = int(value("format_version"))
        if version != FORMAT_VERSION:
            raise ValueError(f"format_version: {version}, this version reads {FORMAT_VERSION}")
        return NetworkMetadata(
            config=NetworkConfig.from_json(value("config")),
            atlas_hash=int(value("atlas_hash"), 16),
            landmark_offset_px=float(value("landmark_offset_px")),
            licence=value("licence"),
            float32_nodes=tuple(value("float32_nodes").split()),
            unused_weights=tuple(value("unused_weights").split()),
            format_version=version,
        )


def load_model(path: Path) -> onnx.ModelProto:
    """Raises ValueError that names the file when it is not an ONNX network."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(path), load_external_data=False)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ValueError(f"{path}: not an ONNX network: {error}") from error
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
