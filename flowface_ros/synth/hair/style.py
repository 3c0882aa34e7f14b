"""How hair is worn, and its colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class HairStyle:
    """How scalp hair is worn.

    name: one of STYLES. length_m, volume_m: of the strands and of the layer that they form.
    fringe_m: length of the hair over the forehead when it is combed forward, else 0.
    part_m: x of the parting. comb: "crown", "side", "back" or "tied".
    curl_m, curl_pitch_m: radius and length of a curl. gravity: how soon strands hang.
    recession: 0 (full hair) to 1 (bald on top).
    """

    name: str
    length_m: float
    volume_m: float
    fringe_m: float
    part_m: float
    comb: str
    curl_m: float
    curl_pitch_m: float
    gravity: float
    recession: float


STYLES = ("bald", "buzz", "short", "medium", "long", "curly", "afro", "tied")


def sample_hair_style(rng: np.random.Generator) -> HairStyle:
    """A style; short, medium and long hair are the most frequent."""
    name = str(rng.choice(STYLES, p=[0.08, 0.09, 0.27, 0.13, 0.19, 0.09, 0.05, 0.10]))
    length, volume, gravity, curl = {
        "bald": (0.0, 0.0, 0.0, 0.0),
        "buzz": (0.006, 0.005, 0.0, 0.0),
        "short": (rng.uniform(0.02, 0.06), rng.uniform(0.008, 0.028), 0.05, 0.0),
        "medium": (rng.uniform(0.09, 0.17), rng.uniform(0.012, 0.03), 0.5, 0.002),
        "long": (rng.uniform(0.22, 0.42), rng.uniform(0.010, 0.025), 0.8, 0.002),
        "curly": (rng.uniform(0.08, 0.25), rng.uniform(0.02, 0.04), 0.45, 0.007),
        "afro": (rng.uniform(0.03, 0.09), rng.uniform(0.02, 0.07), 0.0, 0.004),
        "tied": (rng.uniform(0.14, 0.2), rng.uniform(0.004, 0.010), 0.1, 0.0),
    }[name]
    comb = "tied" if name == "tied" else str(rng.choice(["crown", "side", "back"]))
    may_fringe = name in ("short", "medium", "long", "curly")
    fringe = rng.uniform(0.02, 0.045) if may_fringe and rng.random() < 0.4 else 0.0
    wavy = rng.random() if name in ("medium", "long") else 1.0
    bald = name in ("short", "buzz") and rng.random() < 0.22
    return HairStyle(
        name,
        length,
        volume,
        fringe,
        rng.choice([-1, 1]) * rng.uniform(0, 0.045),
        comb,
        curl * wavy * rng.uniform(0.6, 1.4),
        rng.uniform(0.02, 0.06),
        gravity * rng.uniform(0.7, 1.3),
        rng.uniform(0.2, 1.0) if bald else 0.0,
    )


_PIGMENT = np.array([0.30, 0.205, 0.125])
"""Linear colour of hair with hardly any pigment (light blond)."""


def hair_color(rng: np.random.Generator, melanin: float, age: float) -> tuple[_Array, float]:
    """Linear RGB (3,) of pigmented hair, and the share of grey hairs in [0, 1].

    melanin: of the skin, 0 to 1; dark skin comes with dark hair. age: 0 (young) to 1 (old).
    """
    eumelanin = 4.0 if rng.random() < melanin + 0.25 else rng.uniform(0.1, 3.6)
    eumelanin = eumelanin * rng.uniform(0.75, 1.05)
    pheomelanin = rng.exponential(0.5) if melanin < 0.5 else rng.exponential(0.15)
    absorption = (
        np.array([0.72, 0.90, 1.12]) * eumelanin + np.array([0.05, 0.42, 0.80]) * pheomelanin
    )
    color = _PIGMENT * np.exp(-absorption) + 0.004
    grey = float(np.clip(rng.normal(1.5 * age - 0.75, 0.25), 0, 0.95))
    return color, grey


def dyed(color: _Array, rng: np.random.Generator) -> _Array:
    """Scalp hair is sometimes dyed; brows and beards keep their colour."""
    if rng.random() < 0.96:
        return color
    return np.clip(rng.uniform(0.01, 0.4) * np.exp(rng.normal(0, 0.6, 3)), 0.004, 0.6)
