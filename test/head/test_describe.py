from __future__ import annotations

from dataclasses import replace

from flowface_ros.head.describe import describe
from flowface_ros.head.model import HeadModel


def test_the_description_names_what_the_model_holds(toy: HeadModel) -> None:
    text = describe(toy)
    for part in (
        "toy 1, licence CC0-1.0",
        f"{toy.model_hash:016x}",
        f"{toy.atlas_hash:016x}",
        "vertices      108",
        "expression    5 coefficients in 0..1",
        "root, neck, jaw, left_eye, right_eye",
        "sellion (1)",
        "skin (108), face (54)",
        "jawOpen",
        "81% skin (176 triangles), 35% face",
    ):
        assert part in text, part


def test_a_bare_model_can_be_described(toy: HeadModel) -> None:
    bare = replace(toy, landmarks={}, vertex_groups={}, blendshapes=None, pose_correctives=None)
    text = describe(bare)
    assert "pose terms    none" in text and "atlas  " not in text
