"""The head model's file: a compressed npz with a format version and a hash of every field.

Nothing in such a file is executed: entries are plain arrays, read without pickle, and an entry
must be as long as its own header says.
"""

from __future__ import annotations

import errno
import io
import json
import os
import tempfile
import zipfile
import zlib
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.checks import check_shape, digest
from flowface_ros.head.model import FIELD_DTYPES, HeadModel, JointBlendshapes
from flowface_ros.head.surface import SurfacePoints

FORMAT = "flowface_head"
FORMAT_VERSION = 1
BUILTIN_HEAD = Path(__file__).parent / "data" / "builtin_head.npz"

_MAX_BYTES = 2**30
"""Largest uncompressed size of a file: five times a FLAME head with all its bases."""


@cache
def load_builtin_head() -> HeadModel:
    """The head that comes with the package, read once."""
    return read_head(BUILTIN_HEAD)


def write_head(path: str | os.PathLike[str], model: HeadModel) -> None:
    """Writes the model; the file appears complete or not at all, its bytes depend on it alone."""
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(target.parent))
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model_hash": f"{model.model_hash:016x}",
        "sha256": model.field_digests,
    }
    arrays = {"header": np.array(json.dumps(header)), **model.fields()}
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **cast("dict[str, Any]", arrays))
        temporary.chmod(0o644)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_head(path: str | os.PathLike[str]) -> HeadModel:
    """The model of a file. ValueError names the file and the field that is missing or broken."""
    source = Path(path)
    try:
        with zipfile.ZipFile(source) as archive:
            arrays = _read_arrays(archive)
        header = _check_header(arrays)
        _check_digests(arrays, header)
        model = _model_from_arrays(arrays)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{source}: not a head model file: {error}") from error
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    if f"{model.model_hash:016x}" != header.get("model_hash"):
        raise ValueError(f"{source}: header: model_hash does not match the content")
    return model


def _read_arrays(archive: zipfile.ZipFile) -> dict[str, NDArray]:
    entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    if size > _MAX_BYTES:
        raise ValueError(f"holds {size} bytes, more than the {_MAX_BYTES} of any head")
    return {e.filename.removesuffix(".npy"): _read_array(archive, e) for e in entries}


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray:
    name = entry.filename.removesuffix(".npy")
    try:
        content = archive.read(entry)
        stream = io.BytesIO(content)
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read_header(stream)
        if dtype.kind not in "biufU":
            raise ValueError(f"type {dtype} is not allowed")
        count = 1
        for length in shape:
            count *= int(length)
        if min(shape, default=0) < 0 or count * dtype.itemsize != len(content) - stream.tell():
            raise ValueError(f"its length does not fit shape {shape} of {dtype}")
        stream.seek(0)
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except (KeyError, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        raise ValueError(f"{name}: not readable: {error}") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{name}: corrupted: {error}") from error
    array.flags.writeable = False
    return array


def _check_header(arrays: dict[str, NDArray]) -> dict[str, Any]:
    if "header" not in arrays:
        raise ValueError("header: missing; not a head model file")
    try:
        header = json.loads(str(arrays.pop("header")))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"header: not readable: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError("header: not that of a head model file")
    if header.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"header: format_version is {header.get('format_version')}, "
            f"this program reads {FORMAT_VERSION}"
        )
    return header


def _check_digests(arrays: dict[str, NDArray], header: dict[str, Any]) -> None:
    expected = header.get("sha256")
    if not isinstance(expected, dict):
        raise ValueError("header: sha256 is missing")
    for name in expected:
        if name not in arrays:
            raise ValueError(f"{name}: missing")
    for name, array in arrays.items():
        if name not in expected:
            raise ValueError(f"{name}: unknown field")
        if digest(array) != expected[name]:
            raise ValueError(f"{name}: corrupted: its hash differs from the one in the header")


def _model_from_arrays(arrays: dict[str, NDArray]) -> HeadModel:
    optional = {"pose_correctives"}
    text = ("name", "version", "licence", "shape_names", "expression_names")
    for name in (*text, "atlas_hash", *(set(FIELD_DTYPES) - optional)):
        if name not in arrays:
            raise ValueError(f"{name}: missing")
    values: dict[str, Any] = {name: arrays.get(name) for name in FIELD_DTYPES}
    for name in text[:3]:
        values[name] = str(arrays[name])
    for name in text[3:]:
        values[name] = tuple(arrays[name].ravel().tolist())
    check_shape("atlas_hash", arrays["atlas_hash"], ())
    values["atlas_hash"] = int(arrays["atlas_hash"])
    values["landmarks"] = _landmarks(arrays)
    prefix = "vertex_groups/"
    values["vertex_groups"] = {
        n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)
    }
    if "blendshapes/names" in arrays:
        values["blendshapes"] = JointBlendshapes(
            names=tuple(arrays["blendshapes/names"].ravel().tolist()),
            joints=_field(arrays, "blendshapes/joints"),
            rotations=_field(arrays, "blendshapes/rotations"),
        )
    return HeadModel(**values)


def _landmarks(arrays: dict[str, NDArray]) -> dict[str, SurfacePoints]:
    names = [n.split("/")[1] for n in arrays if n.startswith("landmarks/") and n.count("/") == 2]
    return {
        name: SurfacePoints(
            _field(arrays, f"landmarks/{name}/triangle"),
            _field(arrays, f"landmarks/{name}/barycentric"),
        )
        for name in dict.fromkeys(names)
    }


def _field(arrays: dict[str, NDArray], name: str) -> NDArray:
    if name not in arrays:
        raise ValueError(f"{name}: missing")
    return arrays[name]
