from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from flowface_ros.align.network.config import LIGHT, PAPER, PRESETS, NetworkConfig, preset
from flowface_ros.align.network.constants import AtlasConstants, blank_constants, nearest_valid
from flowface_ros.align.network.metadata import NetworkMetadata


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    assert NetworkConfig.from_json(PRESETS[name].to_json()) == PRESETS[name]


def test_presets_are_what_they_say() -> None:
    assert (PAPER.encoder, PAPER.grid, PAPER.iterations) == ("mit_b5", 64, 12)
    assert (PAPER.feature_channels, PAPER.update, PAPER.heatmap) == (128, "basic", False)
    assert (LIGHT.encoder, LIGHT.grid) == ("landmark_trunk", 48)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("encoder", "resnet"),
        ("crop_px", 250),
        ("crop_px", 288),
        ("crop_px", -32),
        ("crop_px", "256"),
        ("grid", 50),
        ("grid", 0),
        ("grid", 48.0),
        ("heatmap", 1),
        ("iterations", 0),
        ("hidden_channels", 0),
        ("drop_path", 1.0),
        ("min_sigma_px", 0.0),
        ("correlation_levels", 7),
    ],
)
def test_bad_fields_are_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        preset("light", **{field: value})


def test_combinations_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="upsample"):
        preset("light", upsample=2)
    with pytest.raises(ValueError, match="heatmap"):
        preset("base", heatmap=False)
    with pytest.raises(ValueError, match="preset"):
        preset("huge")


def test_unknown_json_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown fields"):
        NetworkConfig.from_json('{"colour": 3}')
    with pytest.raises(ValueError, match="object"):
        NetworkConfig.from_json("[]")
    with pytest.raises(ValueError, match="iterations"):
        NetworkConfig.from_json('{"iterations": 2.5}')


def test_metadata_survives_properties() -> None:
    metadata = NetworkMetadata(LIGHT, 2**63 + 5, -0.5, "Apache-2.0", ("/a", "/b"), ("c",))
    assert NetworkMetadata.from_properties(metadata.to_properties()) == metadata


@pytest.mark.parametrize("name", ["config", "atlas_hash", "format_version"])
def test_missing_metadata_is_named(name: str) -> None:
    properties = NetworkMetadata(LIGHT, 1, 0.0, "CC0-1.0").to_properties()
    del properties[f"flowface.{name}"]
    with pytest.raises(ValueError, match=name):
        NetworkMetadata.from_properties(properties)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("format_version", "99"),
        ("format_version", "one"),
        ("config", "{"),
        ("config", '{"grid": null}'),
        ("atlas_hash", "seven"),
        ("landmark_offset_px", ""),
    ],
)
def test_bad_metadata_is_named(name: str, text: str) -> None:
    properties = NetworkMetadata(LIGHT, 1, 0.0, "CC0-1.0").to_properties()
    with pytest.raises(ValueError, match=f"flowface.{name}: "):
        NetworkMetadata.from_properties({**properties, f"flowface.{name}": text})


def test_nearest_valid_against_brute_force() -> None:
    valid = np.random.default_rng(3).random((16, 16)) < 0.2
    rows = np.argwhere(valid)
    fill = nearest_valid(valid)
    for texel, row in zip(np.argwhere(np.ones_like(valid)), fill, strict=True):
        distances = np.linalg.norm(rows - texel, axis=1)
        assert distances[row] == distances.min()


def test_constants_check_their_shapes() -> None:
    good = blank_constants(LIGHT)
    with pytest.raises(ValueError, match="log_sigma"):
        dataclasses.replace(good, log_sigma=good.log_sigma[:-1])
    with pytest.raises(ValueError, match="no texel"):
        dataclasses.replace(good, valid=np.zeros_like(good.valid))
    with pytest.raises(ValueError, match="valid"):
        good.check(preset("light", grid=64))
    with pytest.raises(ValueError, match="landmarks"):
        dataclasses.replace(good, landmarks=None).check(LIGHT)
    assert isinstance(good, AtlasConstants)
