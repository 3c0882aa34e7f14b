"""From the source's frame to the head's frame, alignment of people, and the planar neck hem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from head_build.topology import (
    EYE_LEFT,
    EYE_RIGHT,
    NECK_PLANE_NORMAL,
    NECK_PLANE_POINT,
    SKIN,
    Topology,
    edge_average,
)
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

Array = NDArray[np.float64]

PUPIL_DISTANCE = 0.0628
"""Interpupillary distance (m) of the mean head, the adult mean (Dodgson 2004); the source's
5.77 cm head is scaled up to it."""
EYES_FROM_ORIGIN = np.array([0.0, 0.026, 0.026])
"""Midpoint between the eyes in the head's frame (m), as FLAME has it: the origin is inside the
head, below and behind the eyes, in front of the skull base."""
HEM_RANGE = 0.035
"""Distance (m) from the neck plane within which identities may not bend the hem out of plane."""


@dataclass(frozen=True)
class Frame:
    """head = scale * source + offset."""

    scale: float
    offset: Array

    def points(self, source_points: Array) -> Array:
        return self.scale * source_points + self.offset

    @property
    def hem_normal(self) -> Array:
        return NECK_PLANE_NORMAL / np.linalg.norm(NECK_PLANE_NORMAL)

    def hem_distance(self, points: Array) -> Array:
        """Signed distances (...) of points (..., 3) above the neck plane."""
        return (points - self.points(NECK_PLANE_POINT)) @ self.hem_normal


def make_frame(topology: Topology, vertices: Array) -> Frame:
    """The frame that brings the source-frame mean `vertices` (V, 3) to the head's frame."""
    left = vertices[topology.part_vertices(EYE_LEFT)].mean(axis=0)
    right = vertices[topology.part_vertices(EYE_RIGHT)].mean(axis=0)
    scale = PUPIL_DISTANCE / float(np.linalg.norm(left - right))
    return Frame(scale, EYES_FROM_ORIGIN - scale * 0.5 * (left + right))


def smoothstep(value: Array, low: float, high: float) -> Array:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def align(people: Array, reference: Array, used: NDArray[np.integer]) -> Array:
    """People (P, V, 3) moved rigidly onto the reference (V, 3) over the vertices `used`."""
    aligned = np.empty_like(people)
    target = reference[used]
    centre = target.mean(axis=0)
    for person, out in zip(people, aligned, strict=True):
        own = person[used].mean(axis=0)
        u, _, vt = np.linalg.svd((person[used] - own).T @ (target - centre))
        flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
        out[:] = (person - own) @ (u @ flip @ vt) + centre
    return aligned


class HemFlattener:
    """Moves the neck's rim within the neck plane only; the neck above eases into that smoothly."""

    def __init__(self, frame: Frame, topology: Topology, vertices: Array) -> None:
        self.frame, self.hem = frame, topology.hem
        distance = frame.hem_distance(vertices)
        skin = topology.part_vertices(SKIN)
        free = np.setdiff1d(skin[distance[skin] < HEM_RANGE], self.hem)
        average = edge_average(topology.triangles, len(vertices))
        system = (sp.identity(len(free)) - average[free][:, free]).tocsc()
        reach = 1 - smoothstep(distance[free], 0.0, HEM_RANGE)
        harmonic = splu(system).solve(average[free][:, self.hem].toarray())
        self.extension = np.zeros((len(vertices), len(self.hem)))
        self.extension[self.hem] = np.eye(len(self.hem))
        self.extension[free] = reach[:, None] * harmonic

    def vertices(self, vertices: Array) -> Array:
        """Vertices (V, 3) with the hem on the neck plane."""
        distance = self.frame.hem_distance(vertices[self.hem])
        return vertices - (self.extension @ distance)[:, None] * self.frame.hem_normal

    def displacement(self, displacement: Array) -> Array:
        """Displacements (V, 3, S) that leave the hem on the neck plane."""
        across = np.tensordot(displacement[self.hem], self.frame.hem_normal, (1, 0))
        return displacement - np.einsum(
            "vh,hs,k->vks", self.extension, across, self.frame.hem_normal
        )
