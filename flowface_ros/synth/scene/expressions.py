"""Facial expression over time: speech, blinks and the slower movements of brows, cheeks and mouth.

Coefficients are ARKit blendshape weights in Apple's order, in [0, 1]; gaze is not here but in
`gaze.py`. Speech follows Cohen and Massaro's coarticulation: every phone pulls at the mouth with a
dominance that rises and falls, and the mouth is their weighted mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowface_ros.head.blendshapes import ARKIT_NAMES
from flowface_ros.synth.scene.curves import Pulses, event_times, sample_waves

Array = NDArray[np.float64]
Targets = dict[str, float]

VOWELS: dict[str, Targets] = {
    "aa": {"jawOpen": 0.55, "mouthLowerDown": 0.2, "mouthUpperUp": 0.1},
    "eh": {"jawOpen": 0.32, "mouthLowerDown": 0.3, "mouthStretch": 0.2, "mouthUpperUp": 0.12},
    "ee": {"jawOpen": 0.14, "mouthStretch": 0.4, "mouthSmile": 0.25, "mouthLowerDown": 0.3},
    "oh": {"jawOpen": 0.35, "mouthFunnel": 0.5, "mouthPucker": 0.15},
    "oo": {"jawOpen": 0.15, "mouthPucker": 0.65, "mouthFunnel": 0.25},
    "er": {"jawOpen": 0.22, "mouthFunnel": 0.25, "mouthShrugUpper": 0.15},
}
CONSONANTS: dict[str, Targets] = {
    "m": {"jawOpen": 0.05, "mouthClose": 0.8, "mouthPress": 0.3, "mouthRollLower": 0.2},
    "f": {"jawOpen": 0.06, "mouthRollLower": 0.45, "mouthUpperUp": 0.15},
    "s": {"jawOpen": 0.05, "mouthStretch": 0.3, "mouthLowerDown": 0.2},
    "sh": {"jawOpen": 0.08, "mouthFunnel": 0.55, "mouthPucker": 0.2},
    "t": {"jawOpen": 0.12, "mouthLowerDown": 0.15},
    "l": {"jawOpen": 0.2, "mouthLowerDown": 0.2, "mouthUpperUp": 0.08},
}
"""Mouth shapes of phones; a name without a side stands for both sides. mouthClose is here the share
of the jaw's opening that the lips take back."""

EXPRESSIONS: dict[str, Targets] = {
    "smile": {
        "mouthSmile": 0.75,
        "cheekSquint": 0.55,
        "eyeSquint": 0.3,
        "mouthDimple": 0.2,
        "mouthUpperUp": 0.2,
    },
    "frown": {"mouthFrown": 0.65, "browDown": 0.5, "mouthShrugLower": 0.3, "browInnerUp": 0.2},
    "brows_up": {"browInnerUp": 0.7, "browOuterUp": 0.6, "eyeWide": 0.35},
    "brows_down": {"browDown": 0.8, "eyeSquint": 0.4, "noseSneer": 0.15},
    "surprise": {"jawOpen": 0.3, "browInnerUp": 0.7, "browOuterUp": 0.7, "eyeWide": 0.6},
    "sneer": {"noseSneer": 0.7, "mouthUpperUp": 0.45, "browDown": 0.35, "cheekSquint": 0.3},
    "press": {"mouthPress": 0.6, "mouthRollLower": 0.3, "mouthRollUpper": 0.3},
    "mouth_left": {"mouthLeft": 0.5, "jawLeft": 0.25},
    "mouth_right": {"mouthRight": 0.5, "jawRight": 0.25},
    "puff": {"cheekPuff": 0.6, "mouthPress": 0.2},
    "doubt": {"mouthShrugLower": 0.6, "mouthShrugUpper": 0.4, "browOuterUp": 0.3},
    "jaw_forward": {"jawForward": 0.4},
}

_REST_DOMINANCE = 0.4
"""Pull of the closed mouth, beside a phone's 1: it closes the mouth in pauses."""
_STRONGEST_PHONE, _STRONGEST_MOOD = 0.8, 0.95
"""Highest weights of one event; where two phones overlap, their mean is a little higher."""
_LEAD_S = 1.0
"""Motion starts before t = 0 and ends after the duration, so that the ends are not at rest."""
_UNREST_RMS = 0.12
"""Of the signal whose square keeps a face from being quite still: weights of 0.015 on average."""
_INDEX = {name: i for i, name in enumerate(ARKIT_NAMES)}


def _columns(*names: str) -> list[int]:
    return [_INDEX[name] for name in names]


_BLINK = _columns("eyeBlinkLeft", "eyeBlinkRight")
_LIDS = _columns("eyeWideLeft", "eyeWideRight", "eyeSquintLeft", "eyeSquintRight")
_ROUND_AND_OPEN = _columns("mouthPucker", "mouthFunnel", "jawOpen")
_WIDE = _columns("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight")
_SHUT = _columns("mouthPressLeft", "mouthPressRight", "mouthRollUpper", "cheekPuff")
_CLOSE = _columns("mouthClose")


def target_vector(targets: Targets, left: float = 1.0, right: float = 1.0) -> NDArray[np.float64]:
    """Weights (52,) of named targets; a name without a side gets `left` and `right` times it."""
    weights = np.zeros(len(ARKIT_NAMES))
    for name, value in targets.items():
        if name in _INDEX:
            weights[_INDEX[name]] = value
        else:
            weights[_INDEX[name + "Left"]] = value * left
            weights[_INDEX[name + "Right"]] = value * right
    return np.clip(weights, 0.0, 1.0)


@dataclass(frozen=True)
class ExpressionStyle:
    """How lively a face is.

    talks: whether it speaks.
    syllable_rate_hz: syllables in a second while it speaks.
    articulation: opening of the mouth in speech, 1 = as in the tables.
    blinks_per_minute: mean rate.
    expression_gap_s: mean time from one expression to the next.
    intensity: strength of expressions, 1 = as in the table.
    """

    talks: bool = True
    syllable_rate_hz: float = 4.0
    articulation: float = 1.0
    blinks_per_minute: float = 15.0
    expression_gap_s: float = 1.6
    intensity: float = 1.0


def sample_style(rng: np.random.Generator) -> ExpressionStyle:
    """A random person's liveliness."""
    return ExpressionStyle(
        talks=bool(rng.random() < 0.85),
        syllable_rate_hz=rng.uniform(3.0, 5.0),
        articulation=rng.uniform(0.7, 1.2),
        blinks_per_minute=rng.uniform(10.0, 20.0),
        expression_gap_s=rng.uniform(1.2, 2.5),
        intensity=rng.uniform(0.7, 1.15),
    )


class ExpressionCurves:
    """ARKit weights of one face as a function of time, fixed at construction."""

    def __init__(
        self, rng: np.random.Generator, duration_s: float, style: ExpressionStyle | None = None
    ) -> None:
        """Draw all events of [0, duration_s] and a little around it; after that the face rests."""
        self.style = style or sample_style(rng)
        end = duration_s + _LEAD_S
        self.blink_times = event_times(rng, 0.0, end, 60.0 / self.style.blinks_per_minute, 0.4)
        self._blinks = _blink_pulses(rng, self.blink_times)
        self._phones, self._phone_targets = _speech(rng, self.style, -_LEAD_S, end)
        self._moods, self._mood_targets = _moods(rng, self.style, -_LEAD_S, end)
        self._unrest = sample_waves(rng, np.full(len(ARKIT_NAMES), _UNREST_RMS), (0.2, 1.5), 3)
        self._unrest_mask = _unrest_mask()

    def weights(self, t: ArrayLike) -> Array:
        """ARKit weights (..., 52) in [0, 1] at times (...), eyeLook* zero."""
        time = np.asarray(t, np.float64)
        pull = self._phones.values(time)
        total = pull.sum(axis=-1, keepdims=True)
        speech = (1 + _REST_DOMINANCE) * pull @ self._phone_targets / (_REST_DOMINANCE + total)
        blink = 1.0 - np.prod(1.0 - self._blinks.values(time), axis=-1, keepdims=True)
        # A smooth "or": bounded by 1 however many movements meet, and smooth unlike a clip.
        unrest = self._unrest.values(time) ** 2 * self._unrest_mask
        rest = (1.0 - speech) * (1.0 - unrest)
        moods = self._moods.values(time)
        for event in np.flatnonzero(moods.any(axis=tuple(range(moods.ndim - 1)))):
            rest *= 1.0 - moods[..., event, None] * self._mood_targets[event]
        return _compatible(1.0 - rest, blink)


def _compatible(weights: Array, blink: Array) -> Array:
    """Weights without combinations that anatomy forbids, with the blink (..., 1) put in."""
    result = weights.copy()
    result[..., _LIDS] *= 1.0 - blink
    result[..., _BLINK] = blink
    pucker, funnel, opening = np.moveaxis(weights[..., _ROUND_AND_OPEN, None], -2, 0)
    result[..., _WIDE] *= (1.0 - 0.8 * pucker) * (1.0 - 0.8 * funnel)
    result[..., _SHUT] *= (1.0 - opening) ** 4
    result[..., _CLOSE] *= opening
    return result


def _unrest_mask() -> Array:
    """Channels (52,) that are never quite still."""
    moving = ("brow", "mouth", "cheekSquint", "jawOpen", "noseSneer", "eyeSquint")
    still = ("mouthClose", "mouthLeft", "mouthRight")
    return np.array([float(name.startswith(moving) and name not in still) for name in ARKIT_NAMES])


def _blink_pulses(rng: np.random.Generator, times: Array) -> Pulses:
    """Lids close in 40 to 55 ms and open more slowly; 100 to 150 ms in all."""
    n = len(times)
    return Pulses(
        times, rng.uniform(0.04, 0.055, n), rng.uniform(0.0, 0.015, n), rng.uniform(0.06, 0.08, n)
    )


def _speech(
    rng: np.random.Generator, style: ExpressionStyle, start: float, end: float
) -> tuple[Pulses, Array]:
    """Dominance pulses of N phones and their targets (N, 52): phrases with pauses between."""
    centres: list[float] = []
    widths: list[float] = []
    targets: list[Array] = []
    now = start + rng.uniform(0.0, 1.0)
    while style.talks and now < end:
        loudness = style.articulation * rng.uniform(0.75, 1.2)
        for _ in range(int(rng.integers(4, 12))):
            length = rng.uniform(0.8, 1.25) / style.syllable_rate_hz
            for table, at, size in ((CONSONANTS, 0.15, 0.6), (VOWELS, 0.6, 1.0)):
                phone = table[str(rng.choice(list(table)))]
                scale = loudness * rng.uniform(0.8, 1.15)
                centres.append(now + at * length)
                widths.append(size * length)
                targets.append(np.minimum(target_vector(phone) * scale, _STRONGEST_PHONE))
            now += length
        now += rng.uniform(0.25, 0.9)
    width = np.array(widths)
    pulses = Pulses(np.array(centres) - 0.55 * width, 0.5 * width, 0.1 * width, 0.5 * width)
    return pulses, np.reshape(targets, (-1, len(ARKIT_NAMES)))


def _moods(
    rng: np.random.Generator, style: ExpressionStyle, start: float, end: float
) -> tuple[Pulses, Array]:
    """Pulses of N expressions and their targets (N, 52), a little stronger on one side."""
    times = event_times(rng, start, end, style.expression_gap_s, 0.4)
    n = len(times)
    targets = np.zeros((n, len(ARKIT_NAMES)))
    names = list(EXPRESSIONS)
    # Smiles and brows are what faces do most; the others are seasoning.
    weight = np.array([4.0, 1.5, 3.0, 2.0] + [1.0] * (len(names) - 4))
    for row in range(n):
        name = names[rng.choice(len(names), p=weight / weight.sum())]
        tilt = rng.normal(0.0, 0.12)
        strength = style.intensity * rng.uniform(0.5, 1.15)
        targets[row] = np.minimum(
            target_vector(EXPRESSIONS[name], 1 + tilt, 1 - tilt) * strength, _STRONGEST_MOOD
        )
    rise = rng.uniform(0.25, 0.5, n)
    pulses = Pulses(times, rise, rng.uniform(0.1, 1.5, n), rise * rng.uniform(1.2, 2.0, n))
    return pulses, targets
