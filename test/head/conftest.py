"""A small random head of FLAME's structure, which the tests of the formulas run on."""

from __future__ import annotations

import numpy as np
import pytest

from flowface_ros.head.model import HeadModel, JointBlendshapes, hash_atlas
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
