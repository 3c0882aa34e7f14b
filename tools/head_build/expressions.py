"""The 52 ARKit units as displacements of the template, mirrored exactly."""

from __future__ import annotations

import numpy as np
from head_build import eyes, identity, mouth
from head_build.frame import Frame
from head_build.source import Source
from head_build.topology import SKIN, TEETH_UPPER, Topology, edge_average
from numpy.typing import NDArray

from flowface_ros.head.blendshapes import ARKIT_NAMES

Array = NDArray[np.float64]

NAMES = ARKIT_NAMES
SOFTENING_STEPS = 3
TONGUE_PARTS_LIPS = {
    "mouthLowerDownLeft": 0.6,
    "mouthLowerDownRight": 0.6,
    "mouthUpperUpLeft": 0.35,
    "mouthUpperUpRight": 0.35,
}
"""What tongueOut adds so that the tongue passes between the lips."""


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
    raw = {name: frame.scale * topology.vertices(source.target(name)) for name in NAMES}
    units = {name: 0.5 * (raw[name] + topology.mirrored(raw[partner(name)])) for name in NAMES}
    lids = eyes.make_lids(topology, template)
    lips = mouth.make_lips(topology, template)
    fixed = topology.part_vertices(TEETH_UPPER)
    for name, unit in units.items():
        unit = _softened(topology, lids, lips, unit)
        if name.startswith(("eyeLookUp", "eyeLookDown")):
            unit = eyes.follow_gaze(template, lids[0 if name.endswith("Left") else 1], name, unit)
        if name == "eyeBlinkLeft":
            unit = eyes.close_lids(topology, template, lids[0], unit)
        elif not name.startswith("eyeBlink"):
            unit = eyes.slide_lids(template, lids[1], eyes.slide_lids(template, lids[0], unit))
        if name == "jawOpen":
            unit = mouth.smooth_lower_lip(lips, topology, unit)
        elif name == "tongueOut":
            unit = unit + sum(share * units[other] for other, share in TONGUE_PARTS_LIPS.items())
        if name != "mouthClose":
            unit = mouth.part_lips(template, lips, unit)
        if not name.startswith("jaw"):
            unit = mouth.keep_before_teeth(topology, template, lips, unit)
        unit[fixed] = 0
        units[name] = unit
    units["eyeBlinkRight"] = topology.mirrored(units["eyeBlinkLeft"])
    return {name: 0.5 * (units[name] + topology.mirrored(units[partner(name)])) for name in NAMES}


def _softened(
    topology: Topology, lids: tuple[eyes.Lids, eyes.Lids], lips: mouth.Lips, unit: Array
) -> Array:
    """The unit with its creases in cheeks and forehead softened; lids and lips stay as they are."""
    free = (lips.ring > 6) & (topology.vertex_part == SKIN)
    for own in lids:
        free &= (own.ring > 6) | (own.ring < 0)
    average = edge_average(topology.triangles, len(unit))
    for _ in range(SOFTENING_STEPS):
        unit = np.where(free[:, None], 0.5 * (unit + average @ unit), unit)
    return unit


def source_teeth(source: Source, frame: Frame) -> tuple[Array, Array, Array]:
    """The source's lower teeth: places (n, 3), and displacements of jawOpen and jawLeft."""
    teeth = source.vertex_groups["helper-lower-teeth"]
    places = frame.points(identity.adult_mean(source)[teeth])
    return (
        places,
        frame.scale * source.target("jawOpen")[teeth],
        frame.scale * source.target("jawLeft")[teeth],
    )
