"""Things that pass before faces: a hand to the chin, a mug, a phone, for a second or two."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowface_ros.synth.scene.curves import Pulses, Waves, event_times, sample_waves
from flowface_ros.synth.scene.motion import HeadPath
from flowface_ros.synth.things.occluders import Occluder, sample_occluder

Array = NDArray[np.float64]

_MEAN_GAP_S = 8.0
_APPROACH_M = (0.0, 0.0, -0.45)
"""Where a thing comes from and goes to, beside its place: up from the table."""


@dataclass(frozen=True, eq=False)
class Occlusions:
    """Things that come before one face and leave again. They follow the head's sway, as a hand at
    the chin does.

    things: N, at rest in the rig frame before the head's mean place. visits: N pulses.
    """

    things: tuple[Occluder, ...]
    visits: Pulses
    tremor: Waves
    path: HeadPath

    def at(self, t: float) -> list[Occluder]:
        """What is there at time t, in the rig frame."""
        nearness = self.visits.values(t)
        shift = self.path.translation(t) - self.path.place + self.tremor.values(t)
        return [
            _moved(self.things[i], shift + (1.0 - nearness[i]) * np.array(_APPROACH_M))
            for i in np.flatnonzero(nearness)
        ]


def _moved(thing: Occluder, shift: Array) -> Occluder:
    parts = (replace(part, mesh=part.mesh.moved(np.eye(3), shift)) for part in thing.parts)
    return replace(thing, parts=tuple(parts))


def sample_occlusions(
    rng: np.random.Generator,
    path: HeadPath,
    face: ArrayLike,
    viewers: ArrayLike,
    duration_s: float,
    skin: ArrayLike,
) -> Occlusions:
    """About one visit in eight seconds, each between the face and one of the viewers.

    face: (3,) mean position of the face's surface, viewers: (N, 3) cameras, metres in the rig
    frame. skin: (3,) linear RGB of the person's hands.
    """
    times = event_times(rng, 0.0, duration_s, _MEAN_GAP_S, 2.0)
    cameras, n = np.asarray(viewers, np.float64).reshape(-1, 3), len(times)
    things = [
        sample_occluder(rng, face, cameras[rng.integers(len(cameras))], skin) for _ in range(n)
    ]
    visits = Pulses(
        times, rng.uniform(0.4, 0.8, n), rng.uniform(0.3, 1.5, n), rng.uniform(0.4, 0.8, n)
    )
    tremor = sample_waves(rng, np.full(3, 0.004), (0.3, 2.0), components=3)
    return Occlusions(tuple(things), visits, tremor, path)
