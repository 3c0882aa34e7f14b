"""Keeps an aligner's answers in step with what the skin looks like.

An aligner looks at each picture alone. Where it puts a point of the skin shakes from picture to
picture, and wanders as the head turns. What the skin looked like a moment ago, and when it was last
seen from here, says how it has moved far better; it does not say where on the head it is. So the
answers are shifted, as a head can move and by no more than they are likely to be off, until the
picture agrees with earlier ones.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.crop import Crop
from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import Camera
from flowface_ros.head.state import HeadState
from flowface_ros.track import texture_kernels as kernels
from flowface_ros.track.texture_alignment import Floats, Reference, align_texture, detail_of, moved
from flowface_ros.track.textured_skin import POSE, SkinView, TexturedSkin

Array = NDArray[np.float64]

_LAGS = (2, 8)
"""Pictures back that a picture is compared with."""
_APART_DEG = 8.0
"""Looks from directions so far apart are kept, and compared with from near them."""
_FRESH_S = 10.0
"""Looks are kept for so long and then replaced by the next from there: light changes."""
_PATTERN_GAIN = 0.1
"""Share of each picture in the mean of what no motion of a head explains."""
_JUMP = 1.0
"""Sigmas by which a point's part of that changes when it is another than before, as when a hand
comes or goes; then it starts anew."""
_TRUST_ALONE, _TRUST_IN_RIGS = 2.0, 4.0
"""How many times its information an answer is trusted. The more it is, the more it shakes; the
less, the further a face that turns fast is dragged along. Where several views see the head, what
one of them gets wrong the others put right, unless it clings to it."""
_MODEL_SHARE = 0.1
"""Share of the points' information that counts when motions are fitted to an answer."""
_FITS = 2
"""The second has less weight on what the first did not explain."""
_RIDGE = 0.01
"""Weight of a motion's prior in that fit: it only has to be well posed."""


@dataclass(frozen=True, eq=False)
class _Look:
    """direction: (3,) from where the skull was seen."""

    stamp_ns: int
    reference: Reference
    direction: Array


class TextureMemory:
    """What one face looked like to one camera."""

    def __init__(self, skin: TexturedSkin) -> None:
        self._skin = skin
        self._recent: deque[_Look] = deque(maxlen=max(_LAGS))
        self._kept: list[_Look] = []
        self._amounts = np.zeros(skin.motion_count)
        self._pattern: Array | None = None

    def steadied(
        self,
        picture: NDArray[np.uint8],
        crop: Crop,
        camera: Camera,
        state: HeadState,
        observation: Observation,
        alone: bool = True,
    ) -> Observation:
        """The observation of a picture, in step with earlier pictures; this one is remembered.

        picture: the crop (S, S, 3) uint8 RGB. state: of the head about then, as predicted.
        alone: no other view sees the head.
        An observation that lacks some of the aligner's points, and one of a head that is not
        wholly before the camera, are returned as they are.
        """
        skin = self._skin
        view = skin.view(camera, crop, state)
        if len(observation) != skin.count or view is None:
            return observation
        said = crop.to_crop(observation.pixels[skin.rows])
        places = self._steady_places(said, observation.sigma[skin.rows] / crop.scale, view)
        detail = detail_of(picture)
        if references := self._references(view.direction):
            self._amounts = align_texture(
                detail,
                view.fine_seen,
                references,
                places,
                view.motions,
                self._amounts,
                skin.between,
                skin.smoother,
                _TRUST_ALONE if alone else _TRUST_IN_RIGS,
            )
        places = places + moved(view.motions, self._amounts)
        reference = Reference(detail.values_at(skin.between.spread(places)), view.fine_seen)
        self._remember(_Look(observation.stamp_ns, reference, view.direction))
        shift = np.zeros((skin.count, 2))
        shift[skin.rows] = places - said
        shift[skin.others] = moved(view.other_motions, self._amounts[:POSE])
        pixels = observation.pixels + shift @ crop.image_from_crop[:, :2].T
        return replace(observation, pixels=pixels)

    def _steady_places(self, said: Array, sigma: Array, view: SkinView) -> Array:
        """An answer (N, 2), crop pixels, with what no motion of a head explains averaged over time.

        That part is the person's shape and the aligner's habits, which last, and shaking, which
        does not.
        """
        lasting = np.zeros_like(said) if self._pattern is None else self._pattern
        explained = view.places + _explained(said - view.places - lasting, sigma, view.motions)
        pattern = said - explained
        if self._pattern is not None:
            change = pattern - self._pattern
            jumped = np.hypot(*change.T) > _JUMP * sigma
            pattern = self._pattern + np.where(jumped[:, None], 1.0, _PATTERN_GAIN) * change
        self._pattern = pattern
        return np.asarray(explained + pattern)

    def _references(self, direction: Array) -> list[Reference]:
        """Looks of a moment ago, and the two nearest of those from about here."""
        recent = [self._recent[-lag] for lag in _LAGS if lag <= len(self._recent)]
        near = sorted(self._kept, key=lambda look: _angle_deg(look.direction, direction))[:2]
        near = [k for k in near if _angle_deg(k.direction, direction) < 2 * _APART_DEG]
        return [look.reference for look in (*recent, *(k for k in near if k not in recent))]

    def _remember(self, look: _Look) -> None:
        """Keep it if there is none from about there, or in the place of an old one."""
        self._recent.append(look)
        near = [k for k in self._kept if _angle_deg(k.direction, look.direction) <= _APART_DEG]
        if any(look.stamp_ns - k.stamp_ns <= _FRESH_S * 1e9 for k in near):
            return
        self._kept = [k for k in self._kept if k not in near] + [look]


def _explained(shifts: Array, sigma: Array, motions: Floats) -> Array:
    """What motions (N, 2, M) make of shifts (N, 2), by least squares that outliers do not pull."""
    wanted = shifts.astype(np.float32)
    ridge = _RIDGE * np.eye(motions.shape[2])
    weights = _MODEL_SHARE / sigma**2
    whitened = np.empty_like(motions)
    for _ in range(_FITS):
        root = np.sqrt(weights).astype(np.float32)
        kernels.scale(motions, root, whitened)
        flat = whitened.reshape(-1, len(ridge))
        amounts = np.linalg.solve(flat.T @ flat + ridge, (root[:, None] * wanted).ravel() @ flat)
        explained = moved(motions, amounts)
        off = np.hypot(*(shifts - explained).T) / (_JUMP * sigma)
        weights = _MODEL_SHARE / (sigma * (1 + off**2)) ** 2
    return np.asarray(explained, np.float64)


def _angle_deg(a: Array, b: Array) -> float:
    return math.degrees(math.acos(min(1.0, max(-1.0, float(a @ b)))))
