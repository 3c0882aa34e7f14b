from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowface_ros.head.checks import digest
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import read_head, write_head


@pytest.fixture
def file(toy: HeadModel, tmp_path: Path) -> Path:
    write_head(tmp_path / "toy.npz", toy)
    return tmp_path / "toy.npz"


def rewritten(path: Path, **changes: np.ndarray | None) -> Path:
    """A copy of a head file with entries replaced, or left out where None; hashes stay."""
    with np.load(path) as archive:
        arrays = dict(archive)
    for name, value in changes.items():
        field = name.replace("__", "/")
        if value is None:
            del arrays[field]
        else:
            arrays[field] = value
    target = path.with_name("changed.npz")
    np.savez_compressed(target, **arrays)
    return target


def test_round_trip(toy: HeadModel, file: Path) -> None:
    copy = read_head(file)
    assert copy.model_hash == toy.model_hash
    assert copy.shape_names == toy.shape_names
    for name, array in toy.fields().items():
        np.testing.assert_array_equal(copy.fields()[name], array, err_msg=name)
        assert copy.fields()[name].dtype == array.dtype


def test_a_model_without_optional_parts(toy: HeadModel, tmp_path: Path) -> None:
    bare = replace(toy, pose_correctives=None, landmarks={}, vertex_groups={}, blendshapes=None)
    write_head(tmp_path / "bare.npz", bare)
    copy = read_head(tmp_path / "bare.npz")
    assert copy.pose_correctives is None and copy.blendshapes is None
    assert copy.model_hash == bare.model_hash


def test_the_bytes_depend_on_the_content_alone(toy: HeadModel, file: Path) -> None:
    again = file.with_name("again.npz")
    write_head(again, toy)
    assert again.read_bytes() == file.read_bytes()


def test_no_temporary_file_stays(toy: HeadModel, file: Path) -> None:
    assert [p.name for p in file.parent.iterdir()] == ["toy.npz"]
    with pytest.raises(OSError, match="nowhere"):
        write_head(file.parent / "nowhere" / "toy.npz", toy)


@pytest.mark.parametrize(
    "field", ["template", "uv", "landmarks__sellion__barycentric", "blendshapes__rotations"]
)
def test_a_changed_field_is_named(file: Path, field: str) -> None:
    with np.load(file) as archive:
        array = archive[field.replace("__", "/")]
    array.flat[0] += 1e-3
    name = field.replace("__", "/")
    with pytest.raises(ValueError, match=rf"changed\.npz: {name}: corrupted"):
        read_head(rewritten(file, **{field: array}))


@pytest.mark.parametrize("field", ["triangles", "shape_basis", "vertex_groups__skin", "name"])
def test_a_missing_field_is_named(file: Path, field: str) -> None:
    with pytest.raises(ValueError, match=rf"changed\.npz: {field.replace('__', '/')}: missing"):
        read_head(rewritten(file, **{field: None}))


def test_an_extra_field_is_named(file: Path) -> None:
    with pytest.raises(ValueError, match="surprise: unknown field"):
        read_head(rewritten(file, surprise=np.zeros(3)))


def test_a_file_without_header_is_foreign(file: Path) -> None:
    with pytest.raises(ValueError, match="not a head model file"):
        read_head(rewritten(file, header=None))


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "{}", '{"format": "other"}', "[" * 9**5])
def test_a_foreign_header(file: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"changed\.npz: header"):
        read_head(rewritten(file, header=np.array(text)))


def test_a_later_version_says_so(file: Path) -> None:
    with np.load(file) as archive:
        header = json.loads(str(archive["header"]))
    header["format_version"] = 99
    with pytest.raises(ValueError, match="format_version is 99, this program reads 1"):
        read_head(rewritten(file, header=np.array(json.dumps(header))))


def test_a_misshapen_number_with_a_true_hash_is_named(file: Path) -> None:
    with np.load(file) as archive:
        header = json.loads(str(archive["header"]))
    pair = np.zeros(2, np.uint64)
    header["sha256"]["atlas_hash"] = digest(pair)
    with pytest.raises(ValueError, match=r"changed\.npz: atlas_hash has shape \(2,\)"):
        read_head(rewritten(file, atlas_hash=pair, header=np.array(json.dumps(header))))


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code in the file ran')",)


def test_pickled_objects_are_refused(file: Path) -> None:
    hostile = np.empty(1, object)
    hostile[0] = Bomb()
    with pytest.raises(ValueError, match="template: not readable: type object"):
        read_head(rewritten(file, template=hostile))


def test_a_lying_array_header_takes_no_memory(file: Path) -> None:
    with zipfile.ZipFile(file.with_name("bomb.npz"), "w") as archive:
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
        header += b" " * (117 - len(header)) + b"\n"
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        archive.writestr("template.npy", content)
    with pytest.raises(ValueError, match="template: not readable: its length"):
        read_head(file.with_name("bomb.npz"))


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip file" * 10])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.npz: not a head model file"):
        read_head(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_head(tmp_path / "none.npz")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_damage_never_gives_another_head(
    toy: HeadModel, file: Path, where: float, bit: int, cut: bool
) -> None:
    content = bytearray(file.read_bytes())
    place = int(where * len(content))
    if cut:
        del content[place:]
    else:
        content[place] ^= 1 << bit
    damaged = file.with_name("damaged.npz")
    damaged.write_bytes(content)
    try:
        model = read_head(damaged)
    except ValueError as error:
        assert "damaged.npz" in str(error)
    else:
        assert model.model_hash == toy.model_hash
