"""The 52 ARKit units as displacements of the template, mirrored exactly."""

from __future__ import annotations

import numpy as np
from head_build.frame import Frame
from head_build.source import FACE_UNITS, Source
from head_build.topology import Topology
from numpy.typing import NDArray

from flowface_ros.head.blendshapes import ARKIT_NAMES

Array = NDArray[np.float64]

NAMES = ARKIT_NAMES


def partner(name: str) -> str:
    """The unit of the other side; the unit itself when it is of both."""
    for a, b in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(a):
            return name[: -len(a)] + b
    return name


def load_units(
    source: Source, topology: Topology, frame: Frame, template: Array
) -> dict[str, Array]:
    """Name -> (V, 3) displacement at weight 1."""
    raw = {
        name: frame.scale * topology.vertices(source.target(f"{name}")) for name in NAMES
    }
    assert FACE_UNITS and len(template)
    return {
        name: 0.5 * (raw[name] + topology.mirrored(raw[partner(name)])) for name in NAMES
    }
