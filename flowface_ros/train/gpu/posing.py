"""Heads posed in batches by torch: linear blend skinning as in `head.skinning`, in float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import joint_bases


@dataclass(frozen=True)
class Posed:
    """B heads. vertices: (B, V, 3) metres in the rig frame. linear: (B, J, 3, 3), shift:
    (B, J, 3): joint j maps a neutral point v to linear v + shift."""

    vertices: Tensor
    linear: Tensor
    shift: Tensor


class HeadPoser:
    """A head model on a device."""

    def __init__(self, model: HeadModel, device: torch.device) -> None:
        def put(array: NDArray) -> Tensor:
            return torch.from_numpy(np.array(array, np.float32)).to(device)

        bases = joint_bases(model)
        V = model.vertex_count
        self.template = put(model.template)
        self.shape_basis = put(model.shape_basis.reshape(3 * V, -1))
        self.expression_basis = put(model.expression_basis.reshape(3 * V, -1))
        self.correctives = None
        if model.pose_correctives is not None:
            self.correctives = put(model.pose_correctives.reshape(3 * V, -1))
        self.weights = put(model.skinning_weights)
        self.joints, self.joint_shape = put(bases.neutral), put(bases.shape)
        self.joint_expression = put(bases.expression)
        self.parents = [int(p) for p in model.parents]

    def pose(
        self, shape: Tensor, expression: Tensor, rotations: Tensor, translation: Tensor
    ) -> Posed:
        """shape (B, S), expression (B, E), rotations (B, J, 3, 3): the head's own in the root's
        place, then those of the joints; translation (B, 3), metres."""
        batch, V = len(shape), len(self.template)
        moved = shape @ self.shape_basis.T + expression @ self.expression_basis.T
        if self.correctives is not None:
            eye = torch.eye(3, device=shape.device)
            features = (rotations[:, 1:] - eye).reshape(batch, -1)
            moved = moved + features @ self.correctives.T
        neutral = self.template + moved.reshape(batch, V, 3)
        joints = self.joints + torch.einsum("jkc,bc->bjk", self.joint_shape, shape)
        joints = joints + torch.einsum("jkc,bc->bjk", self.joint_expression, expression)
        linear, shift = self._chain(rotations, joints, translation)
        blended = torch.einsum("vj,bjkl->bvkl", self.weights, linear)
        offset = torch.einsum("vj,bjk->bvk", self.weights, shift)
        return Posed((blended @ neutral[..., None])[..., 0] + offset, linear, shift)

    def _chain(
        self, rotations: Tensor, joints: Tensor, translation: Tensor
    ) -> tuple[Tensor, Tensor]:
        linear = [rotations[:, 0]]
        posed = [(rotations[:, 0] @ joints[:, 0, :, None])[..., 0] + translation]
        for j in range(1, len(self.parents)):
            parent = self.parents[j]
            linear.append(linear[parent] @ rotations[:, j])
            arm = (joints[:, j] - joints[:, parent])[..., None]
            posed.append(posed[parent] + (linear[parent] @ arm)[..., 0])
        stacked = torch.stack(linear, dim=1)
        shift = torch.stack(posed, dim=1) - (stacked @ joints[..., None])[..., 0]
        return stacked, shift


def mesh_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Unit normals (B, V, 3) of meshes (B, V, 3) with shared triangles (F, 3), by area."""
    a, b, c = (vertices[:, triangles[:, k]] for k in range(3))
    faces = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices)
    for k in range(3):
        normals.index_add_(1, triangles[:, k], faces)
    return torch.nn.functional.normalize(normals, dim=2)


def triangle_frames(vertices: Tensor, triangles: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (n, 3) and axes (n, 3, 3), as `synth.anatomy.head_tables.triangle_frames`, of
    triangles (n, 3) of the meshes (B, V, 3) that image (n,) names."""
    a, b, c = (vertices[image, triangles[:, k]] for k in range(3))
    x = torch.nn.functional.normalize(b - a, dim=1)
    z = torch.nn.functional.normalize(torch.linalg.cross(x, c - a), dim=1)
    return (a + b + c) / 3, torch.stack([x, torch.linalg.cross(z, x), z], dim=2)
