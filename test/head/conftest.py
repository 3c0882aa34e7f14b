"""Heads to test with: a small random one for the formulas, and one like FLAME to import."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.spatial import Delaunay

from flowface_ros.head.atlas import points_at_uv, skin_triangles, uv_at_points, vertex_points
from flowface_ros.head.model import HeadModel, JointBlendshapes, hash_atlas
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.normals import triangle_normals
from flowface_ros.head.skinning import pose_vertices, posed_joints
from flowface_ros.head.state import neutral_state
from flowface_ros.head.surface import SurfacePoints

ROWS, COLUMNS = 9, 12


def grid_mesh(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3) of an open half ellipsoid, triangles, uv and uv triangles."""
    v, u = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    across, up = (u - 0.5) * np.pi, (0.5 - v) * np.pi * 0.9
    vertices = np.stack(
        [np.sin(across) * np.cos(up) * 0.08, np.sin(up) * 0.12, np.cos(across) * np.cos(up) * 0.1],
        axis=-1,
    ).reshape(-1, 3)
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    c, d = index[1:, 1:].ravel(), index[1:, :-1].ravel()
    triangles = np.concatenate([np.stack([a, d, c], 1), np.stack([a, c, b], 1)])
    uv = 0.05 + 0.9 * np.stack([u, v], axis=-1).reshape(-1, 2)
    return vertices, triangles, uv, triangles


def make_toy_head(seed: int = 0, shapes: int = 6, expressions: int = 5) -> HeadModel:
    """A toy with random weights on all five joints, so that every term of the formulas counts."""
    rng = np.random.default_rng(seed)
    vertices, triangles, uv, uv_triangles = grid_mesh(ROWS, COLUMNS)
    count = len(vertices)
    weights = rng.dirichlet(np.full(5, 0.4), count)
    weights[rng.random(count) < 0.5] = [0, 1, 0, 0, 0]
    regressor = rng.dirichlet(np.full(count, 0.05), 5)
    return HeadModel(
        name="toy",
        version="1",
        licence="CC0-1.0",
        template=vertices,
        shape_basis=rng.normal(0, 3e-3, (count, 3, shapes)),
        shape_names=tuple(f"shape_{i:03d}" for i in range(shapes)),
        expression_basis=rng.normal(0, 3e-3, (count, 3, expressions)),
        expression_names=("jawForward", *(f"exp_{i:03d}" for i in range(1, expressions))),
        expression_bounds=np.tile([0.0, 1.0], (expressions, 1)),
        pose_correctives=rng.normal(0, 2e-3, (count, 3, 36)),
        joint_regressor=regressor,
        parents=np.array([-1, 0, 1, 1, 1]),
        joint_bounds=np.tile([-1.0, 1.0], (5, 3, 1)),
        skinning_weights=weights,
        triangles=triangles,
        uv=uv,
        uv_triangles=uv_triangles,
        atlas_hash=hash_atlas(uv, uv_triangles),
        landmarks={"sellion": SurfacePoints(np.array([3], np.int32), np.array([[0.2, 0.3, 0.5]]))},
        vertex_groups={"skin": np.arange(count), "face": np.arange(count // 2)},
        blendshapes=JointBlendshapes(
            names=("jawOpen", "jawLeft", "jawRight", "eyeLookUpLeft", "eyeLookDownLeft"),
            joints=np.array([2, 2, 2, 3, 3]),
            rotations=np.array(
                [[0.5, 0, 0], [0, 0.2, 0.05], [0, -0.2, -0.05], [-0.4, 0, 0], [0.5, 0, 0]]
            ),
        ),
    )


@pytest.fixture(scope="session")
def toy() -> HeadModel:
    return make_toy_head()


@dataclass(frozen=True)
class FlameLike:
    """A head of FLAME's structure and of another topology, and where it lies on the built-in one.

    points: each vertex on the built-in head. truth: (V, 3) the built-in vertices in this shape.
    """

    arrays: dict[str, np.ndarray]
    points: SurfacePoints
    truth: np.ndarray


def remesh(
    model: HeadModel, rng: np.random.Generator, count: int
) -> tuple[SurfacePoints, np.ndarray]:
    """Random points on the skin, joined by a Delaunay triangulation of their atlas places.

    They are as dense as the built-in mesh: more so at the ears, eyes and lips, as in FLAME.
    """
    skin = skin_triangles(model)
    chosen = rng.choice(skin, count)
    points = SurfacePoints(chosen.astype(np.int32), rng.dirichlet([1, 1, 1], count))
    uv = uv_at_points(model, points)
    triangles = Delaunay(uv).simplices
    inside = np.ones(len(triangles), bool)
    for weights in ([1 / 3] * 3, [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]):
        places = np.einsum("k,fki->fi", weights, uv[triangles])
        inside &= points_at_uv(model, places, skin)[1]
    return points, triangles[inside]


def make_flame_like(model: HeadModel, seed: int = 0, skin_count: int = 4000) -> FlameLike:
    """A random person with deformations that the built-in bases do not have, meshed anew."""
    rng = np.random.default_rng(seed)
    state = replace(neutral_state(model), shape=rng.normal(0, 0.8, model.shape_count))
    waves, phases = rng.normal(0, 25, (12, 3)), rng.uniform(0, 6, 12)
    amplitude = rng.normal(0, 0.0012, (12, 3))

    def warp(places: np.ndarray) -> np.ndarray:
        return places + np.sin(places @ waves.T + phases) @ amplitude

    truth = warp(pose_vertices(model, state))
    points, triangles = remesh(model, rng, skin_count)
    for name in ("left_eyeball", "right_eyeball"):
        group = model.vertex_groups[name]
        rows = model.triangles[np.isin(model.triangles, group).all(axis=1)]
        triangles = np.concatenate([triangles, len(points) + np.searchsorted(group, rows)])
        eye = vertex_points(model, group)
        points = SurfacePoints(
            np.concatenate([points.triangle, eye.triangle]),
            np.concatenate([points.barycentric, eye.barycentric]),
        )
    vertices = points.interpolate(model.triangles, truth)
    normals = triangle_normals(vertices, triangles)
    own = triangle_normals(truth, model.triangles[points.triangle[triangles[:, 0]]])
    flipped = np.einsum("fi,fi->f", normals, own) < 0
    triangles[flipped] = triangles[flipped][:, ::-1]
    weights = points.interpolate(model.triangles, model.skinning_weights.astype(float))
    joints = warp(posed_joints(model, state))
    regressor = np.zeros((5, len(vertices)))
    for row, joint in zip(regressor, joints, strict=True):
        near = np.argsort(np.linalg.norm(vertices - joint, axis=1))[:400]
        system = np.concatenate([vertices[near].T, np.ones((1, len(near)))])
        row[near] = np.linalg.lstsq(system, [*joint, 1], rcond=None)[0]
    arrays = {
        "v_template": vertices,
        "f": triangles.astype(np.uint32),
        "shapedirs": rng.normal(0, 1e-3, (len(vertices), 3, 302)),
        "posedirs": np.zeros((len(vertices), 3, 36)),
        "J_regressor": regressor,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "weights": weights,
    }
    return FlameLike(arrays, points, truth)


@pytest.fixture(scope="session")
def builtin() -> HeadModel:
    return load_builtin_head()


@pytest.fixture(scope="session")
def flame_like(builtin: HeadModel) -> FlameLike:
    return make_flame_like(builtin)
