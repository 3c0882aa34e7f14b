"""A head model in words, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import numpy as np

from flowface_ros.head.atlas import skin_triangles, texel_grid
from flowface_ros.head.model import JOINT_NAMES, HeadModel

_SHARE_GRID = 256
"""Texels per side of the grid that shares of the atlas are counted on."""


def describe(model: HeadModel) -> str:
    """What the model holds, several lines."""
    size = np.ptp(model.template, axis=0) * 1000
    correctives = "yes" if model.pose_correctives is not None else "none"
    bounds = model.expression_bounds
    lines = [
        f"{model.name} {model.version}, licence {model.licence}",
        f"hash          {model.model_hash:016x}",
        f"atlas hash    {model.atlas_hash:016x}",
        f"vertices      {model.vertex_count}",
        f"triangles     {model.triangle_count}",
        f"size          {size[0]:.0f} x {size[1]:.0f} x {size[2]:.0f} mm (x, y, z)",
        f"shape         {model.shape_count} coefficients",
        f"expression    {model.expression_count} coefficients"
        + (f" in {bounds.min():g}..{bounds.max():g}" if len(bounds) else ""),
        _listing("", model.expression_names),
        f"pose terms    {correctives}",
        _listing("joints", JOINT_NAMES),
        _listing("landmarks", (f"{n} ({len(p)})" for n, p in model.landmarks.items())),
        _listing("groups", (f"{n} ({len(g)})" for n, g in model.vertex_groups.items())),
        _listing("ARKit joints", model.blendshapes.names if model.blendshapes else ("none",)),
    ]
    if "skin" in model.vertex_groups:
        lines.append(f"atlas         {_atlas_shares(model)}")
    return "\n".join(line for line in lines if line.strip())


def _listing(title: str, names: Iterable[str]) -> str:
    indent = " " * 14
    first = f"{title:<14}"
    return textwrap.fill(", ".join(names), 100, initial_indent=first, subsequent_indent=indent)


def _atlas_shares(model: HeadModel) -> str:
    grid = texel_grid(model, _SHARE_GRID)
    text = f"{grid.valid.mean():.0%} skin ({len(skin_triangles(model))} triangles)"
    if "face" in model.vertex_groups:
        in_face = np.zeros(model.vertex_count, bool)
        in_face[model.vertex_groups["face"]] = True
        face = in_face[model.triangles[grid.points.triangle]].all(axis=1)
        text += f", {np.count_nonzero(face) / _SHARE_GRID**2:.0%} face"
    return text
