"""Where the features of a face are in the texture atlas: static tables for painting skin."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from flowface_ros.head.atlas import skin_triangles
from flowface_ros.head.model import HeadModel
from flowface_ros.synth.render.raster import interpolate, rasterize
from flowface_ros.synth.textures import smoothstep

_Array = NDArray[np.float64]
Map = NDArray[np.float32]


@dataclass(frozen=True)
class FacePoints:
    """Landmarks of the neutral template, metres in the head's frame; the subject's left side.

    brow: (5, 3) from the nose outwards. eye: (3,) middle of the lid opening. eye_corners: (2, 3)
    inner, outer. nose_tip, nose_base, mouth, mouth_corner, chin: (3,). lip_top: (3,) outer
    edge of the upper lip. jaw: (9, 3) from the chin to the ear. lip_contour: (12, 3) around both
    lips, both sides.
    """

    brow: _Array
    eye: _Array
    eye_corners: _Array
    nose_tip: _Array
    nose_base: _Array
    mouth: _Array
    mouth_corner: _Array
    lip_top: _Array
    chin: _Array
    jaw: _Array
    lip_contour: _Array


def beside(point: _Array, x: float, y: float, z: float) -> _Array:
    """The point moved by x, y, z metres."""
    return point + np.array([x, y, z])


def face_points(model: HeadModel) -> FacePoints:
    """From the 68 iBUG landmarks, made symmetric."""
    points = model.landmarks["ibug68"].interpolate(
        model.triangles, model.template.astype(np.float64)
    )
    flip = np.array([-1.0, 1.0, 1.0])

    def both(left: list[int], right: list[int]) -> _Array:
        return (points[left] + points[right] * flip) / 2

    def middle(index: int) -> _Array:
        return points[index] * [0, 1, 1]

    eye = both([42, 43, 44, 45, 46, 47], [39, 38, 37, 36, 41, 40])
    return FacePoints(
        brow=both([22, 23, 24, 25, 26], [21, 20, 19, 18, 17]),
        eye=eye.mean(axis=0),
        eye_corners=eye[[0, 3]],
        nose_tip=middle(30),
        nose_base=middle(33),
        mouth=(middle(62) + middle(66)) / 2,
        mouth_corner=both([54], [48])[0],
        lip_top=middle(51),
        chin=middle(8),
        jaw=both([8, 9, 10, 11, 12, 13, 14, 15, 16], [8, 7, 6, 5, 4, 3, 2, 1, 0]),
        lip_contour=points[48:60],
    )


def _smooth_loop(points: _Array) -> _Array:
    """A closed spline (n, 2) through points (k, 2)."""
    closed = np.vstack([points, points[:1]])
    spline = CubicSpline(np.arange(len(closed)), closed, bc_type="periodic")
    return spline(np.linspace(0, len(points), 16 * len(points), endpoint=False))


class SkinMap:
    """Tables over the texels of the skin's island; texels off it continue the nearest ones.

    position: (T, T, 3) float32 metres on the template. inside: (T, T) bool.
    """

    def __init__(self, model: HeadModel, size: int) -> None:
        self.size = size
        self.points = face_points(model)
        chosen = skin_triangles(model)
        places = np.column_stack([model.uv * size - 0.5, np.ones(len(model.uv))])
        corners = np.ascontiguousarray(model.uv_triangles[chosen])
        fragments = rasterize(places, corners, size, size)
        self.inside = fragments.triangle >= 0
        flat_vertices = np.zeros((len(model.uv), 3), np.float32)
        flat_vertices[model.uv_triangles.ravel()] = model.template[model.triangles.ravel()]
        position = interpolate(fragments, corners, flat_vertices)
        outside = (~self.inside).astype(np.uint8)
        _, label = cv2.distanceTransformWithLabels(
            outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        source = np.zeros(label.max() + 1, np.int64)
        source[label[self.inside]] = np.flatnonzero(self.inside)
        self._nearest = source[label]
        self.position = self._extended(position)
        self._fragments, self._corners, self._model = fragments, corners, model

    def _extended(self, values: Map) -> Map:
        return values.reshape(self.size**2, -1)[self._nearest].reshape(self.size, self.size, -1)

    def group(self, name: str, blur_m: float = 0.002) -> Map:
        """Soft mask (T, T) in [0, 1] of a vertex group."""
        model = self._model
        member = np.zeros(model.vertex_count, np.float32)
        member[model.vertex_groups[name]] = 1
        values = np.zeros((len(model.uv), 1), np.float32)
        values[model.uv_triangles.ravel(), 0] = member[model.triangles.ravel()]
        mask = self._extended(interpolate(self._fragments, self._corners, values))[..., 0]
        return cv2.GaussianBlur(mask, (0, 0), max(0.5, blur_m / self.texel_m))

    @cached_property
    def tangents(self) -> tuple[Map, Map]:
        """dP/dcolumn and dP/drow (T, T, 3), metres per texel."""
        return (
            np.gradient(self.position, axis=1).astype(np.float32),
            np.gradient(self.position, axis=0).astype(np.float32),
        )

    @cached_property
    def texel_m(self) -> float:
        """Size of a texel on the face, metres."""
        across = np.linalg.norm(np.gradient(self.position, axis=1), axis=-1)
        close = np.linalg.norm(self.position - self.points.nose_tip, axis=-1) < 0.06
        return float(np.median(across[close & self.inside]))

    def texel_direction(self, texels: NDArray[np.integer], direction: _Array) -> _Array:
        """Unit texel directions (n, 2: column, row) of 3D directions (n, 3) at texels (n, 2)."""
        column, row = (t[texels[:, 1], texels[:, 0]].astype(np.float64) for t in self.tangents)
        aa, bb, ab = ((p * q).sum(1) for p, q in ((column, column), (row, row), (column, row)))
        da, db = (column * direction).sum(1), (row * direction).sum(1)
        scale = aa * bb - ab * ab + 1e-18
        flat = np.stack([(bb * da - ab * db) / scale, (aa * db - ab * da) / scale], axis=1)
        return flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-12)

    @cached_property
    def side(self) -> Map:
        """|x| (T, T) metres."""
        return np.abs(self.position[..., 0])

    def spot(self, center: _Array, radius_m: float) -> Map:
        """Gaussian spots (T, T) around a point and its mirror image."""
        x, y, z = (
            self.side - abs(center[0]),
            self.position[..., 1] - center[1],
            self.position[..., 2],
        )
        z = z - center[2]
        return np.exp(-(x * x + y * y + z * z) / np.float32(radius_m**2)).astype(np.float32)

    @cached_property
    def brow(self) -> tuple[Map, Map]:
        """Place along the brow, 0 at the nose to 1 at the temple, and metres above its line."""
        line = self.points.brow
        s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line[:, :2], axis=0), axis=1))])
        along = np.interp(self.side, line[:, 0], s / s[-1], left=-1, right=2)
        before = (self.side - line[0, 0]) / (line[-1, 0] - line[0, 0])
        along = np.where(along < 0, before, np.where(along > 1, before, along))
        level = np.interp(self.side, line[:, 0], line[:, 1])
        above = self.position[..., 1] - level
        above = np.where(self.position[..., 2] > self.points.eye[2] - 0.035, above, 1.0)
        return along.astype(np.float32), above.astype(np.float32)

    @cached_property
    def lips(self) -> Map:
        """Soft mask of the red of the lips: inside their outer contour, seen from the front."""
        per_m, half = 10_000, np.array([0.045, 0.035])
        origin = self.points.mouth[:2] - half
        contour = _smooth_loop((self.points.lip_contour[:, :2] - origin) * per_m)
        picture = np.zeros(tuple((2 * half[::-1] * per_m).astype(int)), np.float32)
        cv2.fillPoly(picture, [np.rint(contour * 16).astype(np.int32)], 1.0, cv2.LINE_AA, shift=4)
        picture = cv2.GaussianBlur(picture, (0, 0), 0.0006 * per_m)
        place = (self.position[..., :2] - origin) * per_m
        mask = cv2.remap(picture, place.astype(np.float32), None, cv2.INTER_LINEAR)
        return mask * (self.position[..., 2] > self.points.mouth_corner[2] - 0.012)

    @cached_property
    def ears(self) -> Map:
        """Soft mask of the ears."""
        return np.clip(self.group("ears", 0.002), 0, 1)

    @cached_property
    def beard(self) -> Map:
        """How densely a full beard grows, in [0, 1], below a line from the ear to the mouth."""
        p = self.points
        y, z = self.position[..., 1], self.position[..., 2]
        ear = p.jaw[-1]
        back = np.clip((p.mouth_corner[2] - z) / (p.mouth_corner[2] - ear[2]), 0, 1.2)
        mouth_line = 0.6 * p.nose_base[1] + 0.4 * p.lip_top[1]
        line = (
            mouth_line
            - 0.012 * np.sin(np.pi * np.clip(back, 0, 1))
            + back**2 * (ear[1] - mouth_line)
        )
        cheek = smoothstep(line - y, -0.003, 0.012)
        throat = smoothstep(y, p.chin[1] - 0.045, p.chin[1] - 0.015 + 0 * y)
        behind = smoothstep(z, ear[2] + 0.004, ear[2] + 0.014)
        nostril = 1 - self.spot(beside(p.nose_base, 0.006, 0.004, 0), 0.011)
        bare_lip = 1 - smoothstep(
            cv2.GaussianBlur(self.lips, (0, 0), 0.0015 / self.texel_m), 0.05, 0.4
        )
        return cheek * throat * behind * nostril * bare_lip * (1 - self.ears)

    @cached_property
    def moustache(self) -> Map:
        """Part of the beard above the mouth."""
        p = self.points
        reach = smoothstep(self.side, p.mouth_corner[0] + 0.009, p.mouth_corner[0])
        y = self.position[..., 1]
        return self.beard * reach * smoothstep(y, p.mouth[1] - 0.006, p.mouth[1] + 0.002)

    @cached_property
    def chin_beard(self) -> Map:
        """Part of the beard around the chin."""
        p = self.points
        reach = smoothstep(self.side, p.mouth_corner[0] + 0.006, p.mouth_corner[0] - 0.003)
        y = self.position[..., 1]
        return self.beard * reach * smoothstep(y, p.mouth[1] + 0.004, p.mouth[1] - 0.008)


def random_texels(
    m: SkinMap, weight: NDArray, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Texels (n, 2: column, row) drawn with probability proportional to a weight (T, T)."""
    cumulative = np.cumsum(weight.ravel(), dtype=np.float64)
    if cumulative[-1] <= 0:
        return np.zeros((0, 2), np.int64)
    index = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    return np.stack([index % m.size, index // m.size], axis=1)
