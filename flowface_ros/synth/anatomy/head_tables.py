"""Tables of a head model that drawing it needs, made once per model."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.atlas import skin_triangles
from flowface_ros.head.model import HeadModel
from flowface_ros.head.normals import vertex_normals
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.synth.anatomy.eyes import IRIS_RADIUS_M
from flowface_ros.synth.anatomy.hairline import Hairline
from flowface_ros.synth.anatomy.mouth import tooth_places
from flowface_ros.synth.anatomy.skin_map import face_points
from flowface_ros.synth.render.light import even_directions
from flowface_ros.synth.render.parallel import depth_map, parallel_view
from flowface_ros.synth.render.raster import fill_triangles

_Array = NDArray[np.float64]

SKIN, LEFT_EYE, RIGHT_EYE, TEETH, TONGUE, CAVITY = range(6)
"""Materials of the head's own triangles."""

_OCCLUSION_DIRECTIONS = 128
_OCCLUSION_MAP = 224
_OCCLUSION_BIAS_M = 0.004


@dataclass(frozen=True)
class HeadTables:
    """Drawing tables of a head with V vertices and F triangles.

    triangles: (F, 3) of the model. corners: (F, 3) rows of the split vertices, of which there is
    one per pair of vertex and atlas place. split: (N,) vertex of each. uv: (N, 2) float32; of
    eyeballs, the place in the eye's picture. material: (F,) int32. occlusion: (V,) float32 share
    of ambient light on the neutral head. template: (V, 3). scalp: (V,) density of
    hair. skin_uv: (n, 3, 2) atlas places of the outer skin's triangles.
    skin_triangles: (n, 3) vertices of the outer skin's triangles, skin_triangles_index: (n,).
    hem: vertices of the neck's lowest ring. iris_share: radius of the iris over the eyeball's.
    lids: for each eye (left first), vertices of the upper and lower lid margin from the inner to
    the outer corner. eye_centers: (2, 3) template. eyeballs: vertices of each eyeball.
    inner: vertices of the teeth, tongue and mouth cavity. mouth_points: middle of the inner edge
    of the upper and of the lower lip. atlas_m: metres of face that the atlas's side spans.
    """

    triangles: NDArray[np.int32]
    corners: NDArray[np.int32]
    split: NDArray[np.int32]
    uv: NDArray[np.float32]
    material: NDArray[np.int32]
    occlusion: NDArray[np.float32]
    template: _Array
    scalp: _Array
    hairline: Hairline
    skin_uv: _Array
    skin_triangles: NDArray[np.int32]
    skin_triangles_index: NDArray[np.int32]
    hem: NDArray[np.int32]
    iris_share: float
    lids: tuple[tuple[NDArray[np.int32], NDArray[np.int32]], ...]
    eye_centers: _Array
    eyeballs: tuple[NDArray[np.int32], ...]
    inner: NDArray[np.int32]
    mouth_points: SurfacePoints
    atlas_m: float

    def normals_of(self, vertices: _Array) -> _Array:
        """Unit normals (V, 3)."""
        return vertex_normals(vertices, self.triangles)


_tables: WeakKeyDictionary[HeadModel, HeadTables] = WeakKeyDictionary()


def head_tables(model: HeadModel) -> HeadTables:
    """The model's drawing tables. ValueError when a vertex group that drawing needs is missing."""
    if model not in _tables:
        _tables[model] = _build(model)
    return _tables[model]


def triangle_frames(vertices: _Array, triangles: NDArray[np.int32]) -> tuple[_Array, _Array]:
    """Centres (n, 3) of triangles (n, 3) and their axes (n, 3, 3: columns along the first edge,
    in the plane, normal)."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    x = b - a
    x = x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-12)
    z = np.cross(x, c - a)
    z = z / (np.linalg.norm(z, axis=1, keepdims=True) + 1e-12)
    return (a + b + c) / 3, np.stack([x, np.cross(z, x), z], axis=-1)


def _member(model: HeadModel, name: str) -> NDArray[np.bool_]:
    if name not in model.vertex_groups:
        raise ValueError(
            f"the head {model.name!r} has no vertex group {name!r}, which drawing needs"
        )
    member = np.zeros(model.vertex_count, bool)
    member[model.vertex_groups[name]] = True
    return member


def _build(model: HeadModel) -> HeadTables:
    template = model.template.astype(np.float64)
    triangles = np.ascontiguousarray(model.triangles, np.int32)
    material = _materials(model, triangles)
    pairs = np.stack([triangles.ravel(), model.uv_triangles.ravel()], axis=1)
    unique, corner = np.unique(pairs, axis=0, return_inverse=True)
    corners = corner.reshape(-1, 3).astype(np.int32)
    split = unique[:, 0].astype(np.int32)
    uv = model.uv[unique[:, 1]].astype(np.float32)
    centers, radius_m = _place_eyes(model, template, split, uv)
    for name in ("upper_teeth", "lower_teeth"):
        rows = _member(model, name)[split]
        uv[rows] = tooth_places(template[split[rows]])
    chosen = skin_triangles(model)
    hairline = Hairline(face_points(model))
    return HeadTables(
        triangles=triangles,
        corners=corners,
        split=split,
        uv=uv,
        material=material,
        occlusion=_occlusion(template, triangles, material),
        template=template,
        scalp=hairline.density(template, 0.0, 0.0).astype(float) * ~_member(model, "ears"),
        hairline=hairline,
        skin_uv=model.uv[model.uv_triangles[chosen]].astype(np.float64),
        skin_triangles=triangles[chosen],
        skin_triangles_index=chosen,
        hem=_hem(template, triangles[chosen]),
        iris_share=IRIS_RADIUS_M / radius_m,
        lids=tuple(
            _lid_margins(template, triangles, material, eye, center)
            for eye, center in zip((LEFT_EYE, RIGHT_EYE), centers, strict=True)
        ),
        eye_centers=centers,
        eyeballs=tuple(np.unique(triangles[material == eye]) for eye in (LEFT_EYE, RIGHT_EYE)),
        inner=np.setdiff1d(triangles[material >= TEETH], triangles[material == SKIN]),
        mouth_points=model.landmarks["ibug68"][np.array([62, 66])],
        atlas_m=_atlas_side(template, model, chosen),
    )


def _materials(model: HeadModel, triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """(F,) material of each triangle; what belongs to no group is inside the mouth."""
    groups = {
        LEFT_EYE: "left_eyeball",
        RIGHT_EYE: "right_eyeball",
        TEETH: "teeth",
        TONGUE: "tongue",
        CAVITY: "mouth_cavity",
    }
    material = np.full(len(triangles), SKIN, np.int32)
    on_skin = _member(model, "skin")[triangles].all(axis=1)
    for value, name in groups.items():
        material[_member(model, name)[triangles].all(axis=1) & ~on_skin] = value
    material[(material == SKIN) & ~on_skin] = CAVITY
    return material


def _place_eyes(
    model: HeadModel, template: _Array, split: NDArray[np.int32], uv: NDArray[np.float32]
) -> tuple[_Array, float]:
    """Write the eyeballs' places in the eye's picture, seen from the front, into uv (N, 2).

    Returns the eyeballs' centres (2, 3) and mean radius, metres.
    """
    centers, radii = np.zeros((2, 3)), []
    for k, name in enumerate(("left_eyeball", "right_eyeball")):
        member = _member(model, name)
        ball = template[member]
        centers[k] = (ball.min(axis=0) + ball.max(axis=0)) / 2
        radii.append(np.ptp(ball[:, 1]) / 2)
        rows = member[split]
        offset = (template[split[rows]] - centers[k]) / radii[-1]
        behind = offset[:, 2] < 0
        flat = 0.5 + 0.5 * offset[:, :2] * [1, -1]
        uv[rows] = np.where(behind[:, None], 0.5 + 0.49 * _unit(offset[:, :2]) * [1, -1], flat)
    return centers, float(np.mean(radii))


def _atlas_side(template: _Array, model: HeadModel, chosen: NDArray[np.int32]) -> float:
    """Metres per unit of uv on the face."""
    face = _member(model, "face")
    chosen = chosen[face[model.triangles[chosen]].all(axis=1)]
    corners = template[model.triangles[chosen]]
    flat = model.uv[model.uv_triangles[chosen]].astype(np.float64)
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    e1, e2 = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    return float(np.sqrt(area.sum() / np.abs(e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]).sum()))


def _unit(vectors: _Array) -> _Array:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)


def _occlusion(
    template: _Array, triangles: NDArray[np.int32], material: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Cosine-weighted share of directions from which each vertex is seen; 1 inside the mouth and
    on the eyes, whose light depends on the expression."""
    normals = vertex_normals(template, triangles)
    center = (template.min(axis=0) + template.max(axis=0)) / 2
    radius = float(np.linalg.norm(template - center, axis=1).max())
    outer = np.ascontiguousarray(triangles[material <= RIGHT_EYE])
    seen, total = np.zeros(len(template)), np.full(len(template), 1e-9)
    for direction in even_directions(_OCCLUSION_DIRECTIONS):
        cosine = normals @ direction
        inverse, rows = depth_map(template, outer, direction, _OCCLUSION_MAP, center, radius)
        place = template @ rows[:, :3].T + rows[:, 3]
        x, y = np.rint(place[:, :2]).astype(int).clip(0, _OCCLUSION_MAP - 1).T
        bias = _OCCLUSION_BIAS_M
        visible = 1 / np.maximum(inverse[y, x], 1e-9) > place[:, 2] - bias
        # Below the cut neck there is a body: no light comes straight up past it.
        weight = np.maximum(cosine, 0)
        seen += weight * visible * np.clip(1 + 1.2 * direction[1], 0.15, 1)
        total += weight * np.clip(1 + 1.2 * direction[1], 0.15, 1)
    occlusion = np.clip(seen / total, 0.1, 1)
    inner = np.unique(triangles[material != SKIN])
    occlusion[inner] = 1
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    smooth, count = occlusion.copy(), np.ones(len(occlusion))
    np.add.at(smooth, edges[:, 0], occlusion[edges[:, 1]])
    np.add.at(count, edges[:, 0], 1)
    return (smooth / count).astype(np.float32)


def _hem(template: _Array, triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Vertices of the open border of the skin at the bottom of the neck."""
    edges = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1
    )
    unique, count = np.unique(edges, axis=0, return_counts=True)
    border = np.unique(unique[count == 1])
    lowest, highest = template[triangles.ravel(), 1].min(), template[triangles.ravel(), 1].max()
    low = border[template[border, 1] < lowest + 0.25 * (highest - lowest)]
    return low.astype(np.int32)


def _lid_margins(
    template: _Array,
    triangles: NDArray[np.int32],
    material: NDArray[np.int32],
    eye: int,
    center: _Array,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Skin vertices at the visible edge of the lids, found in a picture of the eye from the
    front: upper and lower margin, from the inner to the outer corner."""
    size, radius = 512, 0.026
    rows = parallel_view(np.array([0.0, 0.0, 1.0]), size, center, radius)
    seen = (template @ rows[:, :3].T + rows[:, 3]).astype(np.float32)
    triangle = np.full((size, size), -1, np.int32)
    inverse = np.zeros((size, size), np.float32)
    fill_triangles(seen, triangles, False, triangle, inverse)
    is_eye = (triangle >= 0) & (material[triangle] == eye)
    margin = {"upper": [], "lower": []}  # type: dict[str, list[int]]
    columns = np.flatnonzero(is_eye.any(axis=0))
    for column in columns:
        rows_of_eye = np.flatnonzero(is_eye[:, column])
        for name, row in (("upper", rows_of_eye[0] - 1), ("lower", rows_of_eye[-1] + 1)):
            t = triangle[row, column]
            if t < 0 or material[t] != SKIN:
                continue
            corners = triangles[t]
            away = np.hypot(seen[corners, 0] - column, seen[corners, 1] - row)
            vertex = int(corners[np.argmin(away)])
            if vertex not in margin[name]:
                margin[name].append(vertex)
    inward = -1.0 if center[0] > 0 else 1.0
    ordered = []
    for name in ("upper", "lower"):
        vertices = np.array(margin[name], np.int32)
        ordered.append(vertices[np.argsort(-inward * template[vertices, 0])])
    return ordered[0], ordered[1]
