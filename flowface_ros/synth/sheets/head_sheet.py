"""One large picture of a head model: identities, expressions, jaw, gaze, blink and atlas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flowface_ros.head.blendshapes import ARKIT_NAMES, state_from_blendshapes
from flowface_ros.head.model import JOINT_NAMES, HeadModel
from flowface_ros.head.normals import vertex_normals
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.synth.anatomy.eyes import IRIS_RADIUS_M
from flowface_ros.synth.render.raster import interpolate, rasterize

TILE_PX = 256
COLUMNS = 10
SUPERSAMPLING = 2
DISTANCE_M = 0.9
PUPIL_SHARE = 0.38
IDENTITIES, SEED = 10, 7
STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
CHECKER_SQUARES = 28

_LIGHTS = np.array([[0.35, 0.45, 0.82], [-0.75, 0.1, 0.45]])
_LIGHT_STRENGTHS = np.array([0.78, 0.16])
_AMBIENT = 0.16
_BACKGROUND = 0.035
_COLORS = {
    "skin": (0.58, 0.44, 0.36),
    "lips": (0.50, 0.27, 0.24),
    "mouth_cavity": (0.16, 0.035, 0.03),
    "tongue": (0.46, 0.13, 0.12),
    "teeth": (0.74, 0.70, 0.60),
    "gums": (0.48, 0.16, 0.15),
    "left_eyeball": (0.78, 0.76, 0.74),
    "right_eyeball": (0.78, 0.76, 0.74),
}
"""Linear RGB of vertex groups, later ones over earlier ones."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """Where a tile looks from, as turns about the head's y and x axes, and at, in metres."""

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    centre: tuple[float, float, float] = (0.0, -0.005, -0.03)
    half: float = 0.165


HEAD = View()
FACE = View(yaw_deg=-20, centre=(0.0, -0.025, 0.02), half=0.105)
MOUTH = View(yaw_deg=-35, centre=(0.0, -0.055, 0.035), half=0.055)


class HeadPainter:
    """Draws one model in many states."""

    def __init__(self, model: HeadModel) -> None:
        self.model = model
        self.colors = _vertex_colors(model)
        self.eyes = _eye_triangles(model)

    def tile(self, state: HeadState, view: View, label: str = "", checker: bool = False) -> NDArray:
        """A tile (TILE_PX, TILE_PX, 3) uint8 RGB."""
        size = TILE_PX * SUPERSAMPLING
        vertices = pose_vertices(self.model, state)
        turn = Rotation.from_euler("xy", [view.pitch_deg, view.yaw_deg], degrees=True).as_matrix()
        seen = (vertices - view.centre) @ turn.T
        depth = DISTANCE_M - seen[:, 2]
        focal = 0.5 * size * DISTANCE_M / view.half
        pixels = [
            size / 2 + focal * seen[:, 0] / depth,
            size / 2 - focal * seen[:, 1] / depth,
            depth,
        ]
        triangles = self.model.triangles
        fragments = rasterize(np.stack(pixels, axis=1), triangles, size, size)
        hit = fragments.triangle >= 0
        albedo = interpolate(fragments, triangles, self.colors)
        if checker:
            albedo = self._checker(fragments.triangle, fragments.barycentric)
        else:
            self._paint_irises(albedo, fragments.triangle, fragments.barycentric)
        normals = interpolate(fragments, triangles, vertex_normals(vertices, triangles) @ turn.T)
        normals /= np.linalg.norm(normals, axis=2, keepdims=True) + 1e-9
        lights = _LIGHTS / np.linalg.norm(_LIGHTS, axis=1, keepdims=True)
        shade = _AMBIENT * (1 + 0.4 * normals[..., 1])
        shade = shade + np.maximum(normals @ lights.T, 0) @ _LIGHT_STRENGTHS
        linear = np.where(hit[..., None], albedo * shade[..., None] * 1.15, _BACKGROUND)
        return _tile(linear, label)

    def _paint_irises(self, albedo: NDArray, triangle: NDArray, barycentric: NDArray) -> None:
        """Iris and pupil about the eyeballs' axes, which look along z in the template."""
        for joint, on_eye in self.eyes.items():
            mask = on_eye[np.maximum(triangle, 0)] & (triangle >= 0)
            centre = self.model.joint_regressor[joint] @ self.model.template
            corners = self.model.template[self.model.triangles[triangle[mask]]]
            place = np.einsum("nk,nkc->nc", barycentric[mask], corners) - centre
            share = np.hypot(place[:, 0], place[:, 1]) / IRIS_RADIUS_M
            share = np.where(place[:, 2] > 0, share, 9.0)[:, None]
            iris = np.array([0.10, 0.15, 0.17]) * (1.25 - 0.7 * share**4)
            colors = albedo[mask]
            colors = np.where(share < 1, iris, colors)
            albedo[mask] = np.where(share < PUPIL_SHARE, 0.004, colors)

    def _checker(self, triangle: NDArray, barycentric: NDArray) -> NDArray:
        uv = self.model.uv[self.model.uv_triangles[np.maximum(triangle, 0)]]
        place = np.einsum("hwk,hwkc->hwc", barycentric, uv)
        return _checker_colors(place)

    def atlas(self, label: str) -> NDArray:
        """A tile of the atlas itself, islands in their colours under the checker."""
        size = TILE_PX * SUPERSAMPLING
        depth = np.ones(len(self.model.uv), np.float32)
        pixels = np.column_stack([self.model.uv * size - 0.5, depth])
        fragments = rasterize(pixels, self.model.uv_triangles, size, size)
        corner = self.model.triangles.ravel()
        flat = np.zeros((len(self.model.uv), 3))
        flat[self.model.uv_triangles.ravel()] = self.colors[corner]
        color = interpolate(fragments, self.model.uv_triangles, flat)
        centres = (np.arange(size) + 0.5) / size
        checker = _checker_colors(np.stack(np.meshgrid(centres, centres), axis=-1))
        hit = (fragments.triangle >= 0)[..., None]
        linear = np.where(hit, 0.5 * color + 0.5 * checker, _BACKGROUND).astype(np.float32)
        return _tile(linear, label)


def draw_head_sheet(model: HeadModel) -> NDArray[np.uint8]:
    """The sheet (H, W, 3) uint8 RGB. Expressions need the model's ARKit mapping; else left out."""
    rows = list(_rows(HeadPainter(model), model))
    blank = np.full((TILE_PX, TILE_PX, 3), 45, np.uint8)
    return np.concatenate(
        [np.concatenate(row + [blank] * (COLUMNS - len(row)), axis=1) for row in rows]
    )


def _rows(painter: HeadPainter, model: HeadModel) -> Iterator[list[NDArray]]:
    neutral = neutral_state(model)
    left = JOINT_NAMES.index("left_eye")
    eye = View(-15, 0, tuple(model.joint_regressor[left] @ model.template + [0, 0, 0.01]), 0.024)
    yield [
        painter.tile(neutral, HEAD, "neutral"),
        painter.tile(neutral, replace(HEAD, yaw_deg=-40), "3/4"),
        painter.tile(neutral, replace(HEAD, yaw_deg=-90), "profile"),
        painter.tile(neutral, replace(HEAD, yaw_deg=180), "back"),
        painter.tile(neutral, replace(HEAD, yaw_deg=-20, pitch_deg=-50), "below"),
        painter.tile(neutral, eye, "left eye"),
        painter.tile(neutral, MOUTH, "mouth"),
        painter.tile(neutral, HEAD, "atlas", checker=True),
        painter.tile(neutral, replace(HEAD, yaw_deg=-55), "atlas", checker=True),
        painter.atlas("atlas"),
    ]
    yield from _identity_rows(painter, neutral)
    if model.blendshapes is None:
        return
    tiles = [_expression_tile(painter, neutral, name) for name in ARKIT_NAMES]
    for first in range(0, len(tiles), COLUMNS):
        yield tiles[first : first + COLUMNS]
    yield [
        *(_posed(painter, neutral, MOUTH, f"jawOpen {w:g}", jawOpen=w) for w in STEPS),
        *(_posed(painter, neutral, eye, f"eyeBlinkLeft {w:g}", eyeBlinkLeft=w) for w in STEPS),
    ]
    yield _gaze_row(painter, neutral)


def _identity_rows(painter: HeadPainter, neutral: HeadState) -> Iterator[list[NDArray]]:
    rng = np.random.default_rng(SEED)
    people = [
        replace(neutral, shape=rng.standard_normal(len(neutral.shape))) for _ in range(IDENTITIES)
    ]
    yield [painter.tile(person, HEAD, f"identity {k}") for k, person in enumerate(people)]
    yield [painter.tile(person, replace(HEAD, yaw_deg=-50)) for person in people]


def _expression_tile(painter: HeadPainter, neutral: HeadState, name: str) -> NDArray:
    """mouthClose is defined on top of an open jaw, as in ARKit."""
    if name == "mouthClose":
        return _posed(painter, neutral, FACE, "mouthClose + jawOpen", mouthClose=1, jawOpen=1)
    return _posed(painter, neutral, FACE, name, **{name: 1.0})


def _gaze_row(painter: HeadPainter, neutral: HeadState) -> list[NDArray]:
    front = replace(FACE, yaw_deg=0, centre=(0.0, 0.02, 0.04), half=0.06)
    up = {"eyeLookUpLeft": 1.0, "eyeLookUpRight": 1.0}
    down = {"eyeLookDownLeft": 1.0, "eyeLookDownRight": 1.0}
    left = {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0}
    right = {"eyeLookInLeft": 1.0, "eyeLookOutRight": 1.0}
    gazes: dict[str, dict[str, float]] = {
        "ahead": {}, "up": up, "down": down, "left": left, "right": right,
        "up left": up | left, "down right": down | right,
        "cross-eyed": {"eyeLookInLeft": 1.0, "eyeLookInRight": 1.0},
    }  # fmt: skip
    return [_posed(painter, neutral, front, f"gaze {n}", **gaze) for n, gaze in gazes.items()]


def _posed(
    painter: HeadPainter, neutral: HeadState, view: View, label: str, **weights: float
) -> NDArray:
    return painter.tile(state_from_blendshapes(painter.model, weights, neutral), view, label)


def _vertex_colors(model: HeadModel) -> Array:
    colors = np.tile(np.array(_COLORS["skin"]), (model.vertex_count, 1))
    for name, color in _COLORS.items():
        if name in model.vertex_groups:
            colors[model.vertex_groups[name]] = color
    return colors


def _eye_triangles(model: HeadModel) -> dict[int, NDArray[np.bool_]]:
    """Joint -> which triangles are its eyeball's."""
    found = {}
    for side in ("left", "right"):
        on_eye = np.zeros(model.vertex_count, bool)
        on_eye[model.vertex_groups.get(f"{side}_eyeball", np.zeros(0, np.int32))] = True
        found[JOINT_NAMES.index(f"{side}_eye")] = np.asarray(on_eye[model.triangles].all(axis=1))
    return found


def _checker_colors(place: NDArray) -> NDArray[np.float32]:
    """Colours (..., 3) of atlas places (..., 2): squares whose hue tells where they lie."""
    odd = np.floor(place * CHECKER_SQUARES).sum(axis=-1) % 2
    hue = np.stack([place[..., 0], 0.35 + 0 * odd, place[..., 1]], axis=-1)
    return ((0.15 + 0.75 * hue) * (0.35 + 0.65 * odd[..., None])).astype(np.float32)


def _tile(linear: NDArray, label: str) -> NDArray[np.uint8]:
    """Linear light (n, n, 3) as a tile with a label."""
    small = cv2.resize(linear, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
    picture = (255 * np.clip(small, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    place, font = (6, 15), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, label, place, font, 0.42, (235, 235, 235), 1, cv2.LINE_AA)
    return picture
