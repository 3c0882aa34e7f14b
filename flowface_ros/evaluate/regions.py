"""Regions of a head that figures are reported for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.model import HeadModel

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "face": ("face",),
    "eyelids": ("eyelids",),
    "lips": ("lips",),
    "nose": ("nose",),
    "eyeballs": ("left_eyeball", "right_eyeball"),
    "mouth_inside": ("teeth", "gums", "tongue", "mouth_cavity"),
    "ears": ("ears",),
    "neck": ("neck",),
    "scalp": ("scalp",),
}
"""Vertex groups of each region. Eyelids, lips and nose are also part of the face."""


def vertex_regions(model: HeadModel) -> dict[str, NDArray[np.bool_]]:
    """Masks (V,) of the vertices by region; regions that the head lacks are left out."""
    masks = {}
    for region, groups in _GROUPS.items():
        known = [model.vertex_groups[name] for name in groups if name in model.vertex_groups]
        if known:
            masks[region] = np.zeros(model.vertex_count, bool)
            masks[region][np.concatenate(known)] = True
    return masks


def triangle_regions(model: HeadModel) -> dict[str, NDArray[np.bool_]]:
    """Masks (F,) of the triangles whose corners are all in the region."""
    masks = vertex_regions(model)
    return {name: np.all(mask[model.triangles], axis=1) for name, mask in masks.items()}
