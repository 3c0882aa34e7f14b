"""Checks and hashes of the arrays that a head model is made of."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def digest(array: NDArray) -> str:
    """SHA-256 (hex) of an array's kind, shape and values, the same on any machine."""
    if array.dtype.kind == "U":
        content = "\0".join(array.ravel().tolist()).encode()
        kind = "text"
    else:
        little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        content = little_endian.tobytes()
        kind = little_endian.dtype.str
    return hashlib.sha256(f"{kind} {array.shape}\n".encode() + content).hexdigest()


def check_shape(name: str, array: NDArray, shape: tuple[int | None, ...]) -> None:
    """ValueError that names the field unless the array has the shape; None stands for any size."""
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if n is None else n for n in shape)
        raise ValueError(f"{name} has shape {array.shape}, must be {wanted}")


def check_range(name: str, indices: NDArray[np.int32], count: int) -> None:
    """ValueError that names the field unless all indices are in 0..count - 1."""
    if indices.size and (indices.min() < 0 or indices.max() >= count):
        low, high = indices.min(), indices.max()
        raise ValueError(f"{name} has indices {low}..{high}, must be in 0..{count - 1}")


def read_only(name: str, value: Any, dtype: type[np.generic]) -> NDArray:
    """The value as a contiguous array that nobody can write to; ValueError names the field."""
    given = np.asarray(value)
    if given.dtype.kind not in "biuf":
        raise ValueError(f"{name} has type {given.dtype}, must be numeric")
    if issubclass(dtype, np.integer) and given.dtype.kind == "f" and given.size:
        raise ValueError(f"{name} has type {given.dtype}, must be integers")
    array = np.ascontiguousarray(given, dtype)
    if np.shares_memory(array, given) and given.flags.writeable:
        array = array.copy()
    array.flags.writeable = False
    return array
