"""A person's neutral head, and where things sit on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import neutral_joints, pose_vertices
from flowface_ros.head.state import neutral_state
from flowface_ros.synth.anatomy.head_tables import HeadTables
from flowface_ros.synth.anatomy.skull import Skull, skull_of

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class FitPoints:
    """Where things sit on a person's neutral head, metres in the head's frame.

    eyes: (2, 3) centres of the eyeballs, left first. sellion: (3,). ears: (2, 3) where temples
    rest. hem: (n, 3) lowest ring of the neck, in any order. brow_m: z of the brows where they stand
    out most.
    """

    eyes: _Array
    sellion: _Array
    ears: _Array
    hem: _Array
    brow_m: float


@dataclass(frozen=True)
class FittedHead:
    """A person's neutral head and where things sit on it."""

    tables: HeadTables
    vertices: _Array
    normals: _Array
    skull: Skull
    fit: FitPoints

    @staticmethod
    def of(model: HeadModel, shape: _Array, tables: HeadTables) -> FittedHead:
        state = replace(neutral_state(model), shape=shape)
        vertices = pose_vertices(model, state)
        joints = neutral_joints(model, state)
        smooth = np.setdiff1d(model.vertex_groups["skin"], model.vertex_groups["ears"])
        landmarks = model.landmarks["ibug68"].interpolate(model.triangles, vertices)
        ears = vertices[model.vertex_groups["ears"]]
        top = np.quantile(ears[:, 1], 0.8)
        rests = []
        for side in (1.0, -1.0):
            ear = ears[ears[:, 0] * side > 0]
            upper = ear[np.abs(ear[:, 1] - top) < 0.006]
            inner = np.quantile(np.abs(upper[:, 0]), 0.2)
            rests.append([side * inner, top + 0.002, np.quantile(upper[:, 2], 0.6)])
        scalp = vertices[model.vertex_groups["scalp"]]
        center = np.array([0.0, np.quantile(ears[:, 1], 0.9), scalp[:, 2].mean()])
        fit = FitPoints(
            eyes=joints[3:5],
            sellion=model.landmarks["sellion"].interpolate(model.triangles, vertices)[0],
            ears=np.array(rests),
            hem=vertices[tables.hem],
            brow_m=float(landmarks[[18, 19, 20, 23, 24, 25], 2].max()),
        )
        return FittedHead(
            tables, vertices, tables.normals_of(vertices), skull_of(vertices[smooth], center), fit
        )
