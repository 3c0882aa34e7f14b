"""Long beards as strands; shorter ones are painted on the skin."""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.hair.strands import Roots, Strands, coherent, unit

_SEGMENTS = 4


def grow_beard(roots: Roots, length_m: float, rng: np.random.Generator) -> Strands:
    """A beard of this length; its strands move with the skin that they grow on."""
    count, segments = len(roots.points), _SEGMENTS
    length = length_m * (0.4 + 0.6 * roots.density) * np.exp(rng.normal(0, 0.25, count))
    lean = coherent(roots.points, rng, 0.03) * 0.4 + rng.normal(0, 0.3, (count, 3))
    points = np.empty((count, segments + 1, 3))
    points[:, 0] = position = roots.points
    for i in range(1, segments + 1):
        s = i / segments
        wish = (1.1 - s) * roots.normals + np.array([0, -0.9 - s, 0.25]) + lean
        inward = np.minimum((wish * roots.normals).sum(axis=1, keepdims=True), 0)
        direction = unit(wish - inward * roots.normals + 0.15 * roots.normals)
        position = position + direction * (length / segments)[:, None]
        points[:, i] = position
    along = np.linspace(0, 1, segments + 1)
    occlusion = np.tile(0.45 + 0.55 * along, (count, 1))
    half_width = 0.00026 * rng.uniform(0.7, 1.3, (count, 1)) * (1 - 0.7 * along**2)
    tone = np.clip(rng.normal(0.5, 0.2, count), 0, 1)
    return Strands(
        points.astype(np.float32),
        half_width.astype(np.float32),
        tone.astype(np.float32),
        occlusion.astype(np.float32),
        roots.triangle,
    )
