"""Reads the arrays of a FLAME pickle without running anything that is in it.

A pickle is a program that calls whatever it names. Here every name that FLAME's files use stands
for a passive object that only keeps what it is given; no function of numpy, scipy or chumpy is
called while the file is read. Any other name is refused. Arrays are then built from the kept bytes,
once their type and size have been checked.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_BYTES = 2**29
"""Largest file: several times FLAME with its 400 bases in float64."""

_MAX_DENSE = 2**27
"""Most entries of a sparse matrix made dense; FLAME's joint regressor has 25,115."""

_REFUSED_OPCODES = {"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER"}
"""Opcodes that fetch objects from outside of the file; FLAME's files have no use for them."""

_NUMERIC = re.compile(r"[<>=|]?[biuf][1248]")


class _Sealed(type):
    """Classes that a pickle can not change."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise TypeError(f"{cls.__name__} can not be changed")


class _Passive(metaclass=_Sealed):
    """Keeps the arguments and the state that a pickle gives to an object, and does nothing."""

    __slots__ = ("arguments", "state")
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> _Passive:
        self = object.__new__(cls)
        self.arguments, self.state = arguments, None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Passive):
    """numpy's _reconstruct(ndarray, ...); the state is (version, shape, dtype, order, data)."""


class _Buffer(_Passive):
    """numpy's _frombuffer(data, dtype, shape, order)."""


class _Dtype(_Passive):
    """numpy.dtype(code, ...); the state holds the byte order."""


class _Scalar(_Passive):
    """numpy's scalar(dtype, data)."""


class _Encoded(_Passive):
    """_codecs.encode(text, "latin1"), or bytes() for none: Python 3's bytes for Python 2."""


class _Sparse(_Passive):
    """A scipy matrix in compressed columns or rows; the state is its attributes."""


class _Csc(_Sparse):
    pass


class _Csr(_Sparse):
    pass


class _Chumpy(_Passive):
    """chumpy.ch.Ch, a differentiable array; the state's "x" is the plain array."""


class _Select(_Passive):
    """chumpy.reordering.Select: entries "idxs" of the array "a"."""


class _Other(_Passive):
    """Something that FLAME's files hold beside the arrays that are read."""


class _Reconstructed(_Passive):
    """copyreg._reconstructor(class, base, state): an object of the class."""

    def __new__(cls, *arguments: Any) -> _Passive:  # type: ignore[misc]
        kind = arguments[0] if arguments else None
        if not (isinstance(kind, _Sealed) and kind is not _Reconstructed):
            raise pickle.UnpicklingError(
                "copyreg._reconstructor of something that is not an object"
            )
        return kind()


_ALLOWED: dict[tuple[str, str], type[_Passive]] = {
    ("numpy", "ndarray"): _Other,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Encoded,
    ("chumpy", "Ch"): _Chumpy,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _Select,
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _Array
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _Scalar
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _Buffer
for _module in ("scipy.sparse", "scipy.sparse.csc", "scipy.sparse._csc"):
    _ALLOWED[_module, "csc_matrix"] = _Csc
for _module in ("scipy.sparse", "scipy.sparse.csr", "scipy.sparse._csr"):
    _ALLOWED[_module, "csr_matrix"] = _Csr
for _module in ("copy_reg", "copyreg"):
    _ALLOWED[_module, "_reconstructor"] = _Reconstructed
for _module in ("__builtin__", "builtins"):
    _ALLOWED[_module, "object"] = _Other
    _ALLOWED[_module, "set"] = _Other
    _ALLOWED[_module, "bytes"] = _Encoded


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[_Passive]:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"refused: it asks for {module}.{name}, which no FLAME file needs"
            ) from None


def read_flame_pickle(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The pickled dictionary of a FLAME file, its values unread: give them to `as_array`.

    ValueError names the file, and the global that was refused if there was one.
    """
    source = Path(path)
    size = source.stat().st_size
    if size > _MAX_BYTES:
        raise ValueError(f"{source}: {size} bytes, more than the {_MAX_BYTES} of any FLAME file")
    content = source.read_bytes()
    try:
        _scan(content)
        unpickler = _Unpickler(io.BytesIO(content), encoding="latin1")
        value = unpickler.load()
    except RecursionError as error:
        raise ValueError(f"{source}: not a FLAME pickle: nested too deeply") from error
    except Exception as error:  # A hostile program can make the unpickler raise anything.
        raise ValueError(
            f"{source}: not a FLAME pickle: {error or type(error).__name__}"
        ) from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{source}: not a FLAME pickle: it holds no dictionary of names")
    return value


def as_array(name: str, value: Any) -> NDArray:
    """The numeric array that a value of the dictionary stands for; ValueError names it."""
    try:
        return _as_array(value)
    except RecursionError as error:
        raise ValueError(f"{name}: an array that holds itself") from error
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"{name}: {error}") from error


def _scan(content: bytes) -> None:
    """Refuses programs that reach outside of the file or reserve memory out of proportion."""
    puts = 0
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in _REFUSED_OPCODES:
            raise pickle.UnpicklingError(f"refused: opcode {opcode.name}")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            puts += 1
            if (
                int(argument or 0) > puts
            ):  # Python 3 numbers from 0 and Python 2 from 1, without gaps.
                raise pickle.UnpicklingError(f"refused: memo index {argument} after {puts} entries")


def _as_array(value: Any) -> NDArray:
    if isinstance(value, _Chumpy):
        return _plain(_state(value)["x"])
    if isinstance(value, _Select):
        state = _state(value)
        shape = tuple(_integer(n) for n in state.get("preferred_shape", (-1,)))
        chosen = _as_array(state["a"]).ravel()[_plain(state["idxs"]).ravel()]
        return chosen.reshape(shape)
    if isinstance(value, _Sparse):
        return _dense(value)
    return _plain(value)


def _plain(value: Any) -> NDArray:
    if isinstance(value, _Array):
        state = value.state
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise ValueError("an array without its state")
        shape, dtype, fortran, data = state[-4:]
        return _build(shape, dtype, "F" if fortran else "C", data)
    if isinstance(value, _Buffer):
        data, dtype, shape, order = value.arguments
        return _build(shape, dtype, order, data)
    raise ValueError(f"is a {_kind(value)}, must be a numeric array")


def _build(shape: Any, dtype: Any, order: Any, data: Any) -> NDArray:
    kind = _numeric_dtype(dtype)
    content = _content(data)
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("an array whose shape is not made of counts")
    if math.prod(shape) * kind.itemsize != len(content):
        raise ValueError(f"an array of shape {shape} and type {kind} with {len(content)} bytes")
    array = np.frombuffer(content, kind).reshape(shape, order="F" if order == "F" else "C")
    return array.astype(kind.newbyteorder("="))


def _integer(value: Any) -> int:
    if isinstance(value, _Scalar):
        dtype, data = value.arguments
        return int(_build((), dtype, "C", data))
    if type(value) is not int:
        raise ValueError(f"a {_kind(value)} where a count belongs")
    return value


def _numeric_dtype(value: Any) -> np.dtype:
    code = value.arguments[0] if isinstance(value, _Dtype) and value.arguments else None
    if not isinstance(code, str) or not _NUMERIC.fullmatch(code):
        raise ValueError(f"an array of type {code!r}, must be numbers")
    state = value.state
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
    return np.dtype(code).newbyteorder(">" if order == ">" else "<")


def _content(data: Any) -> bytes:
    if isinstance(data, _Encoded):
        data = data.arguments[0] if data.arguments else b""
    if isinstance(data, str):
        return data.encode("latin1")
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    raise ValueError("an array of objects, must be numbers")


def _dense(matrix: _Sparse) -> NDArray:
    state = _state(matrix)
    rows, columns = (_integer(n) for n in state["_shape" if "_shape" in state else "shape"])
    if rows < 0 or columns < 0 or rows * columns > _MAX_DENSE:
        raise ValueError(f"a sparse matrix of {rows} x {columns}")
    data, inner, starts = (_plain(state[key]) for key in ("data", "indices", "indptr"))
    by_column = isinstance(matrix, _Csc)
    outer_count, inner_count = (columns, rows) if by_column else (rows, columns)
    lengths = starts[1:].astype(np.int64) - starts[:-1].astype(np.int64)
    fits = starts.shape == (outer_count + 1,) and data.ndim == 1 and data.shape == inner.shape
    if not fits or starts[0] != 0 or starts[-1] != len(data) or np.any(lengths < 0):
        raise ValueError("a sparse matrix whose parts do not fit together")
    if len(inner) and not 0 <= inner.min() <= inner.max() < inner_count:
        raise ValueError("a sparse matrix with entries outside of it")
    dense = np.zeros((outer_count, inner_count))
    np.add.at(dense, (np.repeat(np.arange(outer_count), lengths), inner), data)
    return dense.T if by_column else dense


def _state(value: _Passive) -> dict[str, Any]:
    if not isinstance(value.state, dict):
        raise ValueError(f"a {_kind(value)} without its state")
    return value.state


def _kind(value: Any) -> str:
    return type(value).__name__.lstrip("_").lower()
