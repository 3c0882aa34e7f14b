from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowface_ros.head.mesh_files import read_mesh_file, write_mesh_file

VERTICES = np.array([[0, 0, 0], [1.5, 0, 0], [1, 1, 0.25], [0, 1, -2]])
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".OBJ"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mesh{suffix}"
    write_mesh_file(path, VERTICES, TRIANGLES)
    mesh = read_mesh_file(path)
    np.testing.assert_allclose(mesh.vertices, VERTICES, atol=1e-6)
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES)


def test_obj_with_everything(tmp_path: Path) -> None:
    """Texture, normals, a quad, negative indices, colours, comments."""
    path = tmp_path / "mesh.obj"
    path.write_text(
        "# made by hand\nmtllib x.mtl\no head\nv 0 0 0 0.5 0.5 0.5\nv 1.5 0 0\nvt 0 0\n"
        "v 1 1 .25\nv 0 1 -2e0\nvn 0 0 1\nusemtl skin\ns off\nf 1/1/1 2/1 3//1 4\nf -4 -3 -2\n"
    )
    mesh = read_mesh_file(path)
    np.testing.assert_allclose(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.triangles, [[0, 1, 2], [0, 2, 3], [0, 1, 2]])


PLY_FACE = (
    "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
    "property float z\nelement face 1\nproperty list uchar uint vertex_indices\nend_header\n0 0 0\n"
)


def ply_text(order: str) -> bytes:
    header = (
        f"ply\nformat {order} 1.0\ncomment made by hand\nelement vertex 4\nproperty uchar red\n"
        "property double x\nproperty float y\nproperty float z\nelement face 1\n"
        "property list uchar uint vertex_index\nproperty float quality\nend_header\n"
    ).encode()
    if order == "ascii":
        rows = "".join(f"7 {x} {y} {z}\n" for x, y, z in VERTICES)
        return header + rows.encode() + b"4 0 1 2 3 0.5\n"
    end = "<" if "little" in order else ">"
    kind = [("red", "u1"), ("x", f"{end}f8"), ("y", f"{end}f4"), ("z", f"{end}f4")]
    table = np.zeros(4, kind)
    for i, name in enumerate("xyz"):
        table[name] = VERTICES[:, i]
    corners = np.arange(4, dtype=f"{end}u4").tobytes()
    return header + table.tobytes() + b"\x04" + corners + np.array([0.5], f"{end}f4").tobytes()


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_of_any_order(tmp_path: Path, order: str) -> None:
    path = tmp_path / "mesh.ply"
    path.write_bytes(ply_text(order))
    mesh = read_mesh_file(path)
    np.testing.assert_allclose(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.obj", "v 0 0\n", "line 1: a vertex needs three numbers"),
        ("a.obj", "v 0 0 0\nv 1 0 zero\n", "line 2: could not convert"),
        ("a.obj", "v 0 0 0\nf 1 2 3\n", "faces use vertices 0 to 2, there are 1"),
        ("a.obj", "v 0 0 0\nf 0 1 1\n", "count vertices from 1"),
        ("a.obj", "# nothing\n", "has no vertices"),
        ("a.obj", "v nan 0 0\n", "not finite"),
        ("a.ply", "nothing", "no PLY header"),
        ("a.ply", "ply\nformat odd 1.0\nend_header\n", "unknown format"),
        ("a.ply", "ply\nformat ascii 1.0\nelement vertex 1\nproperty half x\nend_header\n", "half"),
        (
            "a.ply",
            "ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nend_header\n",
            "y, z",
        ),
        ("a.obj", "v 0 0 0\nf 1 1 99999999999\n", "faces use vertices 0 to 99999999998"),
        ("a.ply", PLY_FACE + "3 0 0 4294967295\n", "faces use vertices 0 to 4294967295"),
        ("a.ply", PLY_FACE + "3 0 0 nan\n", "cannot convert float NaN"),
        ("a.ply", PLY_FACE + "-3 0 0 0\n", "a list of length -3"),
        ("a.ply", PLY_FACE.replace("face 1", "face 9999999999"), "no 9999999999 rows of 'face'"),
        ("a.ply", PLY_FACE.replace("property list", "comment list"), "no 1 rows of 'face'"),
        ("a.ply", PLY_FACE.replace("list uchar ", "") + "3\n", "not a PLY file that can be read"),
        ("a.stl", "", ".obj and .ply"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_mesh_file(path)
    assert str(path) in str(error.value)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, 200), order=st.sampled_from(["ascii", "binary_big_endian"]))
def test_a_ply_that_is_cut_off_is_an_error(tmp_path: Path, cut: int, order: str) -> None:
    data = ply_text(order)
    path = tmp_path / "mesh.ply"
    path.write_bytes(data[: -1 - cut - (order == "ascii") * 3])
    with pytest.raises(ValueError, match=r"mesh\.ply"):
        read_mesh_file(path)
