"""Files of arrays that were learned on the built-in head, and are of use with its atlas alone."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.model import HeadModel

Array = NDArray[np.float64]


def read_table(
    path: Path, kind: str, names: Sequence[str]
) -> tuple[int, dict[str, Array], dict[str, Any]]:
    """The atlas's hash, the arrays of these names, and how the table was made.

    ValueError names the file, the kind of table that it should be, and what is missing or broken.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            arrays = {name: np.array(file[name], np.float64) for name in names}
            atlas_hash = int(header["atlas_hash"], 16)
    except (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: not {kind}: {error}") from error
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: {name} holds values that are not finite")
    return atlas_hash, arrays, header


def write_table(
    path: Path, atlas_hash: int, arrays: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """arrays: NumPy's, by name. provenance: how the table was made, fit for JSON."""
    header = np.array(json.dumps({**provenance, "atlas_hash": f"{atlas_hash:016x}"}))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, header=header, **arrays)


def check_atlas(name: str, atlas_hash: int, model: HeadModel, remedy: str) -> None:
    """ValueError unless data called `name` was made for the atlas that the head wears."""
    if atlas_hash != model.atlas_hash:
        raise ValueError(
            f"{name} is of atlas {atlas_hash:016x}, the head {model.name!r} {model.version} "
            f"wears {model.atlas_hash:016x}: {remedy}"
        )
