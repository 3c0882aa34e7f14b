"""What a skin looks like, and how looks are spread over people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SkinLook:
    """What a skin looks like. Shares are in [0, 1] unless said.

    melanin: 0 (lightest) to 1 (darkest). blood: ruddiness. carotene: yellowness. age: roughness
    and wrinkles. mottling: unevenness. freckles, moles (count), shine (oiliness), circles (dark
    rings under the eyes). lip_blood, lip_melanin: of the lips over the skin. make_up: strength.
    brow_density, brow_width_m, brow_raise_m. beard: "none", "stubble", "moustache", "goatee" or
    "full"; beard_density.
    """

    melanin: float
    blood: float
    carotene: float
    age: float
    mottling: float
    freckles: float
    moles: int
    shine: float
    circles: float
    lip_blood: float
    lip_melanin: float
    make_up: float
    brow_density: float
    brow_width_m: float
    brow_raise_m: float
    beard: str
    beard_density: float


def sample_skin_look(rng: np.random.Generator) -> SkinLook:
    """Tones cover the human range evenly; beards and make-up rarely meet."""
    melanin = float(rng.beta(0.85, 1.15))
    masculine = rng.random() < 0.55
    beards = ["none", "stubble", "moustache", "goatee", "full"]
    beard = str(rng.choice(beards, p=[0.38, 0.27, 0.07, 0.09, 0.19])) if masculine else "none"
    made_up = rng.random() < (0.02 if masculine else 0.5)
    return SkinLook(
        melanin=melanin,
        blood=float(rng.beta(2, 3)),
        carotene=float(rng.uniform(0, 1)),
        age=float(rng.beta(1.2, 1.6)),
        mottling=float(rng.beta(2, 3)),
        freckles=float(rng.beta(1, 2)) * (melanin < 0.45) * (rng.random() < 0.3),
        moles=int(rng.poisson(1.5)),
        shine=float(rng.beta(2, 2)),
        circles=float(rng.beta(1.5, 2.5)),
        lip_blood=float(rng.uniform(0.2, 1.0)),
        lip_melanin=float(rng.normal(0.12, 0.10)) * (0.3 + melanin),
        make_up=float(rng.uniform(0.3, 1.0)) if made_up else 0.0,
        brow_density=float(rng.uniform(0.35, 1.0) if masculine else rng.uniform(0.2, 0.9)),
        brow_width_m=float(
            rng.uniform(0.0032, 0.0058) if masculine else rng.uniform(0.0020, 0.0042)
        ),
        brow_raise_m=float(rng.normal(0.0005, 0.0016)),
        beard=beard,
        beard_density=float(rng.uniform(0.4, 1.0)),
    )
