"""Where a 3D view is looked at from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# In distances of the cameras from the heads.
_BACK = 1.45
"""Behind the cameras, which are to be seen, too."""
_UP = 0.45
_ASIDE = 0.2
_CENTRE = 0.55
"""From the heads to what the eye looks at."""


@dataclass(frozen=True, eq=False)
class Eye:
    """position, target: (3,) metres; up: (3,) unit vector."""

    position: Array
    target: Array
    up: Array


def eye_behind(cameras: Sequence[ArrayLike], heads: Sequence[ArrayLike], up: ArrayLike) -> Eye:
    """Behind the cameras, above and to the side, so that faces are seen as the cameras see them.

    cameras, heads: positions (3,), metres, one or more of each. up: (3,) unit vector.
    """
    target = np.mean(np.asarray(heads, np.float64), axis=0)
    way = np.mean(np.asarray(cameras, np.float64), axis=0) - target
    up = np.asarray(up, np.float64)
    distance = float(np.linalg.norm(way))
    aside = np.cross(up, way)
    position = target + _BACK * way + _UP * distance * up + _ASIDE * aside
    centre = target + _CENTRE * way
    return Eye(position, centre, up)
