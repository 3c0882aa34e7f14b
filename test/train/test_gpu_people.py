"""People on the training device: posed as the head model says."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from flowface_ros import rigid
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.normals import vertex_normals
from flowface_ros.head.skinning import joint_rotvecs, pose_vertices
from flowface_ros.synth.person import assembly
from flowface_ros.synth.person.person import sample_person
from flowface_ros.synth.render import drawing as cpu_drawing
from flowface_ros.synth.render import lighting as cpu_lighting
from flowface_ros.synth.render import parallel, ribbons
from flowface_ros.synth.render import shading as cpu_shading
from flowface_ros.synth.render import surfaces as cpu_surfaces
from flowface_ros.train.gpu import asset, drawing, lighting, shading, shadow, surfaces
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


@pytest.mark.parametrize(
    ("ours", "theirs", "names"),
    [
        (lighting, cpu_lighting, ("_WRAP", "_CREASE_BLEED", "_HAIR_WRAP", "_ROOT_SHIFT")),
        (lighting, cpu_lighting, ("_TIP_SHIFT", "_GRAZING_CEILING", "_EYE_HIGHLIGHT")),
        (shading, cpu_shading, ("_DARKEST_LID", "_HAIR_SHADOW_SLACK", "_BROW_TAPS")),
        (shading, cpu_shading, ("_BROW_SHARE", "_RING_SHARE")),
        (surfaces, cpu_surfaces, ("_GREY_HAIR",)),
        (drawing, assembly, ("_MOUTH_DEPTH_M",)),
        (drawing, ribbons, ("_LEAST_HALF_WIDTH_PX",)),
        (asset, cpu_drawing, ("_SHADOW_STRIDE",)),
        (shadow, parallel, ("_FAR_M",)),
    ],
)
def test_constants_are_the_renderers(
    ours: ModuleType, theirs: ModuleType, names: tuple[str, ...]
) -> None:
    """They are written twice: the renderer's are for compiled code."""
    for name in names:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-6)


def test_shadow_maps_are_the_renderers() -> None:
    ours = (shadow._SIZE, shadow._RADIUS_M, shadow._BIAS_M)
    theirs = ("_SHADOW_MAP_SIZE", "_SHADOW_RADIUS_M", "_SHADOW_BIAS_M")
    assert ours == tuple(getattr(cpu_drawing, name) for name in theirs)


def test_materials_of_the_head_are_the_renderers() -> None:
    person = sample_person(load_builtin_head(), np.random.default_rng(3), 64, 10)
    rows, expected = asset.person_asset(person).materials, assembly._HEAD_MATERIALS.copy()
    expected["roughness"][0] = person.skin_roughness
    rows = rows[: len(expected)]
    np.testing.assert_allclose(rows[:, asset.SURFACE], expected["surface"])
    np.testing.assert_allclose(rows[:, asset.RED : asset.BLUE + 1], expected["tint"], rtol=1e-6)
    for column, name in (
        (asset.ROUGHNESS, "roughness"), (asset.SPECULAR, "specular"), (asset.BUMP_M, "bump_m"),
    ):  # fmt: skip
        np.testing.assert_allclose(rows[:, column], expected[name], rtol=1e-6)
