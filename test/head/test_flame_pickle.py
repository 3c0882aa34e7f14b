"""The unpickler reads what FLAME's files hold, and runs nothing of what hostile ones hold."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from flowface_ros.head import flame_pickle
from flowface_ros.head.flame_pickle import as_array, read_flame_pickle

VALUES = {
    "doubles": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "singles": np.linspace(0, 1, 5, dtype=np.float32),
    "counts": np.arange(6, dtype=np.uint32).reshape(2, 3),
    "swapped": np.arange(3, dtype=">i4"),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3)),
    "columns": scipy.sparse.csc_matrix(np.array([[0, 1.5, 0], [2, 0, -1]])),
    "rows": scipy.sparse.csr_matrix(np.array([[0, 1.5, 0], [2, 0, -1]])),
}


def dense(value: Any) -> np.ndarray:
    return value.toarray() if scipy.sparse.issparse(value) else value


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps(VALUES | {"bs_type": "lrotmin", "sets": {1, 2}}, protocol)
    values = read_flame_pickle(write(tmp_path, content))
    for name, expected in VALUES.items():
        array = as_array(name, values[name])
        np.testing.assert_array_equal(array, dense(expected))
        assert array.dtype == dense(expected).dtype.newbyteorder("=")


def python2_array(array: np.ndarray) -> bytes:
    """What Python 2 wrote for an array: protocol 2, the data as a byte string."""
    data = array.tobytes()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + b"(K\x01"
        + b"".join(b"M" + n.to_bytes(2, "little") for n in array.shape)
        + {1: b"\x85", 2: b"\x86", 3: b"\x87"}[array.ndim]
        + b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R"
        + b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89T"
        + len(data).to_bytes(4, "little")
        + data
        + b"tb"
    )


def test_a_python_2_file_with_chumpy(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(4, 3))
    content = b"\x80\x02}(U\x0av_templatecchumpy.ch\nCh\n)\x81}U\x01x" + python2_array(array)
    content += b"sbU\x05plain" + python2_array(array) + b"u."
    values = read_flame_pickle(write(tmp_path, content))
    np.testing.assert_array_equal(as_array("v_template", values["v_template"]), array)
    np.testing.assert_array_equal(as_array("plain", values["plain"]), array)


def test_a_chumpy_selection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chumpy = {}
    for module, name in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select")):
        fake = types.ModuleType(module)
        chumpy[name] = type(name, (), {"__module__": module})
        setattr(fake, name, chumpy[name])
        monkeypatch.setitem(sys.modules, module, fake)
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    array, selection = chumpy["Ch"](), chumpy["Select"]()
    array.x = np.arange(6.0).reshape(2, 3)
    selection.a, selection.idxs, selection.preferred_shape = array, np.array([5, 0, 1, 2]), (2, 2)
    path = write(tmp_path, pickle.dumps({"some": selection}, 2))
    value = as_array("some", read_flame_pickle(path)["some"])
    np.testing.assert_array_equal(value, [[5, 0], [1, 2]])


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


HOSTILE = {
    "os.system": Call(os.system, "touch {marker}"),
    "builtins.eval": Call(eval, "open({marker!r}, 'w')"),
    "builtins.exec": Call(exec, "open({marker!r}, 'w')"),
    "builtins.open": Call(open, "{marker}", "w"),
    "builtins.getattr": Call(getattr, os, "system"),
    "subprocess.Popen": Call(subprocess.Popen, ["touch", "{marker}"]),
    "numpy.fromfile": Call(np.fromfile, "/etc/hostname"),
    "numpy.load": Call(np.load, "{marker}"),
    "numpy.save": Call(np.save, "{marker}", np.zeros(1)),
    "scipy.sparse.save_npz": Call(scipy.sparse.save_npz, "{marker}", VALUES["rows"]),
    "types.FunctionType": Call(types.SimpleNamespace),
    "io.FileIO": Call(io.FileIO, "{marker}", "w"),
}


def filled(value: Any, marker: Path) -> Any:
    if isinstance(value, str):
        return value.format(marker=str(marker))
    return [filled(v, marker) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("nested", [False, True])
def test_a_call_of_anything_else_is_refused(
    tmp_path: Path, name: str, protocol: int, nested: bool
) -> None:
    function, arguments = HOSTILE[name].call
    if function is getattr:
        arguments = ("", "format")
    marker = tmp_path / "ran.npz"
    hostile: Any = Call(function, *(filled(a, marker) for a in arguments))
    if nested:
        hostile = [{"deep": (hostile, np.zeros(2))}]
    path = write(tmp_path, pickle.dumps({"v_template": np.zeros(3), "x": hostile}, protocol))
    with pytest.raises(ValueError, match=r"model\.pkl: not a FLAME pickle: refused: it asks for "):
        read_flame_pickle(path)
    assert not marker.exists()


def test_the_refusal_names_the_global(tmp_path: Path) -> None:
    path = write(tmp_path, b"cos\nsystem\n(S'touch /tmp/x'\ntR.")
    with pytest.raises(ValueError, match=r"it asks for os\.system"):
        read_flame_pickle(path)


SETSTATE = b"\x80\x02}U\x01xcchumpy.ch\nCh\n)\x81%sbs."
PROGRAMS = {
    "system through chumpy's state": SETSTATE % b"cos\nsystem\n(S'true'\ntR",
    "system as an instance": b"(S'true'\nios\nsystem\n.",
    "system as an object": b"(cos\nsystem\nS'true'\no.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    "a function beside the allowed one": b"cnumpy.core.multiarray\nfromstring\n.",
    "a submodule of numpy": b"cnumpy.f2py\ncompile\n.",
    "a submodule of scipy": b"cscipy.sparse\nload_npz\n.",
    "chumpy's own imports": b"cchumpy.ch\nnp\n.",
    "codecs' other functions": b"c_codecs\nlookup\n.",
    "a persistent id": b"Pmodel\n.",
    "a binary persistent id": b"U\x01xQ.",
    "the extension registry": b"\x80\x02\x82\x01.",
    "an out-of-band buffer": b"\x80\x05\x97.",
    "a memo of 4 GB": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a call of bytes' methods": b"c__builtin__\nbytes.fromhex\n.",
    "a reconstructor of a number": b"ccopy_reg\n_reconstructor\n(K\x01K\x02NtR.",
    "changing a stand-in": b"cchumpy.ch\nCh\n}U\x01xK\x01sb.",
    "changing a stand-in's attributes": b"cchumpy.ch\nCh\n(N}U\x0c__setstate__K\x01stb.",
    "appending to a stand-in": b"\x80\x02cchumpy.ch\nCh\n)\x81K\x01a.",
    "items of a stand-in": b"\x80\x02cchumpy.ch\nCh\n)\x81U\x01xK\x01s.",
    "no dictionary": b"\x80\x02K\x01.",
    "names that are no text": b"\x80\x02}K\x01K\x01s.",
    "a huge string that is not there": b"\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00.",
    "nothing": b"",
    "not a pickle": b"PK\x03\x04 some zip file",
    "a cut": pickle.dumps(VALUES)[:200],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_hostile_programs_are_refused(tmp_path: Path, name: str) -> None:
    before = {key: dict(vars(kind)) for key, kind in flame_pickle._ALLOWED.items()}
    with pytest.raises(ValueError, match=r"model\.pkl: not a FLAME pickle: "):
        read_flame_pickle(write(tmp_path, PROGRAMS[name]))
    assert {key: dict(vars(kind)) for key, kind in flame_pickle._ALLOWED.items()} == before


def test_no_function_of_numpy_or_scipy_can_be_reached() -> None:
    for kind in flame_pickle._ALLOWED.values():
        assert issubclass(kind, flame_pickle._Passive)


def array_state(**changes: Any) -> Any:
    parts = {"shape": (2, 3), "code": "f8", "data": bytes(48), "order": "<"} | changes
    dtype = flame_pickle._Dtype(parts["code"], False, True)
    dtype.__setstate__((3, parts["order"], None, None, None, -1, -1, 0))
    array = flame_pickle._Array()
    array.__setstate__((1, parts["shape"], dtype, False, parts["data"]))
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (10**9, 10**9)}, "with 48 bytes"),
        ({"shape": (-2, -3)}, "not made of counts"),
        ({"shape": (2.0, 3)}, "not made of counts"),
        ({"shape": None}, "not made of counts"),
        ({"code": "O8", "data": [1, 2]}, "type 'O8'"),
        ({"code": "V8"}, "type 'V8'"),
        ({"code": "f8,f8"}, "type 'f8,f8'"),
        ({"code": 3}, "type 3"),
        ({"data": [1.0] * 6}, "array of objects"),
        ({"data": "\u20ac" * 48}, "latin-1"),
    ],
)
def test_a_bad_array_is_named(changes: dict[str, Any], message: str) -> None:
    assert as_array("fine", array_state()).shape == (2, 3)
    with pytest.raises(ValueError, match="weights: .*" + message):
        as_array("weights", array_state(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_shape": (10**6, 10**6)}, "sparse matrix of 1000000 x 1000000"),
        ({"_shape": (2, -3)}, "sparse matrix of 2 x -3"),
        ({"_shape": 7}, "J: "),
        ({"indptr": np.array([0, 2, 1, 3], np.int32)}, "do not fit"),
        ({"indptr": np.array([0, 1, 2], np.int32)}, "do not fit"),
        ({"indices": np.array([1, 0, 9], np.int32)}, "outside"),
        ({"indices": np.array([-1, 0, 1], np.int32)}, "outside"),
        ({"data": np.zeros(2)}, "do not fit"),
        ({"data": "text"}, "is a str"),
    ],
)
def test_a_bad_sparse_matrix_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    matrix = scipy.sparse.csc_matrix(np.array([[0, 1.5, 0], [2, 0, -1]]))
    matrix.__dict__.update(changes)
    path = write(tmp_path, pickle.dumps({"J": matrix}, 2))
    with pytest.raises(ValueError, match="J: .*" + message if message != "J: " else message):
        as_array("J", read_flame_pickle(path)["J"])


def test_a_selection_of_itself_is_refused() -> None:
    selection = flame_pickle._Select()
    selection.__setstate__({"a": selection, "idxs": array_state()})
    with pytest.raises(ValueError, match="weights: an array that holds itself"):
        as_array("weights", selection)


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_damaged_file_raises_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, place: float, byte: int
) -> None:
    content = bytearray(pickle.dumps(VALUES, 2))
    content[int(place * len(content))] = byte
    path = write(tmp_path_factory.mktemp("damaged"), bytes(content))
    try:
        values = read_flame_pickle(path)
        for name in values:
            as_array(name, values[name])
    except ValueError:
        pass
