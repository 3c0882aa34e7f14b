"""People on the training device: posed as the head model says."""

from __future__ import annotations

import numpy as np
import torch

from flowface_ros import rigid
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.normals import vertex_normals
from flowface_ros.head.skinning import joint_rotvecs, pose_vertices
from flowface_ros.train.gpu.posing import HeadPoser, mesh_normals
from flowface_ros.train.shots import sample_shots

torch.set_num_threads(1)


def test_posed_vertices_are_the_models() -> None:
    model = load_builtin_head()
    rng = np.random.default_rng(4)
    shots = sample_shots(model, rng, 3)
    shapes = rng.normal(0, 1, (3, model.shape_count))
    states = [shots.state(k, shapes[k]) for k in range(3)]
    rotvecs = np.stack([joint_rotvecs(state) for state in states])
    rotvecs[:, 0] = shots.rotation
    poser = HeadPoser(model, torch.device("cpu"))
    arrays = (shapes, shots.expression, rigid.rotation_from_rotvec(rotvecs))
    arrays = (*arrays, shots.direction * shots.distance_m[:, None])
    posed = poser.pose(*(torch.from_numpy(a).float() for a in arrays))
    for k, state in enumerate(states):
        expected = pose_vertices(model, state)
        np.testing.assert_allclose(posed.vertices[k], expected, atol=3e-6)
        normals = mesh_normals(
            posed.vertices[k : k + 1].double(), torch.from_numpy(model.triangles.astype(np.int64))
        )
        close = (normals[0].numpy() * vertex_normals(expected, model.triangles)).sum(axis=1)
        assert np.median(close) > 0.9999 and np.mean(close > 0.99) > 0.98
