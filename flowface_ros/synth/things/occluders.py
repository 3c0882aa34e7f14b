"""Things before a face: hands, mugs, phones, microphones, papers, arms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowface_ros import rigid
from flowface_ros.synth.render.materials import Surface
from flowface_ros.synth.render.pieces import Piece
from flowface_ros.synth.things import wear
from flowface_ros.synth.things.shapes import Mesh, box, capsule, ellipsoid, join, sheet, tube
from flowface_ros.synth.things.wear import Wearable, mesh_piece, surface_color

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Occluder:
    """A thing in the scene. name: what it is. parts: meshes in the rig frame, metres."""

    name: str
    parts: tuple[Wearable, ...]


OCCLUDERS = ("hand", "mug", "phone", "microphone", "paper", "arm", "ball")


def sample_occluder(
    rng: np.random.Generator, face: ArrayLike, viewer: ArrayLike, skin: ArrayLike | None = None
) -> Occluder:
    """A thing near a face, between it and the viewer.

    face, viewer: (3,) metres in the rig frame. skin: linear RGB (3,) of hands; drawn when None.
    """
    face, viewer = np.asarray(face, float), np.asarray(viewer, float)
    name = str(rng.choice(OCCLUDERS, p=[0.38, 0.1, 0.12, 0.12, 0.1, 0.1, 0.08]))
    tone = np.asarray(skin, float) if skin is not None else _skin_color(rng)
    parts = _MAKERS[name](rng, tone)
    toward = (viewer - face) / (np.linalg.norm(viewer - face) + 1e-9)
    aside = rng.standard_normal(3)
    aside -= (aside @ toward) * toward
    aside /= np.linalg.norm(aside) + 1e-9
    near = 0.115 if name == "hand" else rng.uniform(0.12, 0.18)
    place = face + toward * near + aside * rng.uniform(0.02, 0.115)
    rotation = rigid.rotation_from_rotvec(toward * rng.uniform(-np.pi, np.pi)) @ _facing(toward)
    rotation = rotation @ rigid.rotation_from_rotvec(rng.normal(0, 0.35, 3))
    return Occluder(name, tuple(replace(p, mesh=p.mesh.moved(rotation, place)) for p in parts))


def _facing(toward: _Array) -> _Array:
    """A rotation that turns z towards the viewer."""
    helper = np.array([0.0, -1.0, 0.0]) if abs(toward[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    x = np.cross(helper, toward)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(toward, x), toward], axis=1)


def _skin_color(rng: np.random.Generator) -> _Array:
    return np.array([0.72, 0.48, 0.38]) * np.exp(-rng.uniform(0, 2) * np.array([0.95, 1.14, 1.26]))


def _hand(rng: np.random.Generator, skin: _Array) -> list[Wearable]:
    """A hand with fingers spread or closed, bent or straight; fingers point up (y)."""
    scale = rng.uniform(0.85, 1.1)
    spread, bend = rng.uniform(0.02, 0.3), rng.uniform(-0.1, 1.2)
    pieces = [ellipsoid([0.042, 0.050, 0.014]), capsule([0, -0.03, 0], [0, -0.17, 0], 0.029, 0.036)]
    for k, length in enumerate((0.068, 0.078, 0.072, 0.056)):
        turn = (k - 1.5) * spread
        root = np.array([(k - 1.5) * 0.0205, 0.040, 0.0])
        direction, points = np.array([np.sin(turn), np.cos(turn), 0.0]), [root]
        for share, angle in ((0.45, 0.35), (0.30, 0.8), (0.25, 1.2)):
            flexion = bend * angle + rng.normal(0, 0.06)
            toward_palm = np.array([0, 0, 1.0]) * np.sin(flexion)
            step = direction * np.cos(flexion) + toward_palm
            points.append(points[-1] + step * length * share)
        for a, b, r in zip(points[:-1], points[1:], (0.0092, 0.0085, 0.0076), strict=True):
            pieces.append(capsule(a, b, r, r * 0.92))
    thumb = np.array([-0.036, 0.0, 0.006])
    knuckle = thumb + np.array([-0.03, 0.028, 0.01])
    pieces.append(capsule(thumb, knuckle, 0.0135, 0.011))
    pieces.append(
        capsule(knuckle, knuckle + np.array([-0.008 + 0.02 * bend, 0.03, 0.006]), 0.0105, 0.009)
    )
    mesh = join(pieces)
    flip = scale * np.diag([float(rng.choice([-1.0, 1.0])), 1.0, 1.0])
    vertices = mesh.vertices @ flip
    triangles = mesh.triangles if flip[0, 0] > 0 else mesh.triangles[:, ::-1].copy()
    return [Wearable(Mesh(vertices, triangles, mesh.uv), 0, Surface.SKIN, skin, 0.45, 0.028)]


def _solid(mesh: Mesh, tint: _Array, roughness: float = 0.3, specular: float = 0.04) -> Wearable:
    return Wearable(mesh, 0, Surface.GLOSSY, tint, roughness, specular)


def _mug(rng: np.random.Generator, skin: _Array) -> list[Wearable]:
    radius, height = rng.uniform(0.034, 0.045), rng.uniform(0.08, 0.12)
    y = np.array([-height / 2, height / 2])
    wall = tube(np.stack([[0, v, 0] for v in y]), radius, sides=28)
    lid = tube(np.array([[0, y[1], 0], [0, y[1] + 1e-4, 0]]), np.array([radius, 1e-3]), sides=28)
    angle = np.linspace(-1.3, 1.3, 10)
    handle = np.stack([radius + 0.022 * np.cos(angle), 0.028 * np.sin(angle), 0 * angle], axis=1)
    return [_solid(join([wall, lid, tube(handle, 0.005)]), surface_color(rng), 0.2)]


def _phone(rng: np.random.Generator, skin: _Array) -> list[Wearable]:
    body = _solid(box([0.073, 0.15, 0.009]), surface_color(rng), 0.2, 0.05)
    lens = _solid(box([0.02, 0.03, 0.011]).moved(np.eye(3), [0.02, 0.052, 0.001]), np.full(3, 0.01))
    return [body, lens, *_fist(rng, skin)]


def _fist(rng: np.random.Generator, skin: _Array) -> list[Wearable]:
    fingers = [
        capsule([-0.042, -0.01 - 0.019 * k, 0.01], [0.02, -0.012 - 0.019 * k, 0.012], 0.0085, 0.008)
        for k in range(4)
    ]
    palm = ellipsoid([0.03, 0.05, 0.02]).moved(np.eye(3), [-0.04, -0.045, -0.008])
    arm = capsule([-0.04, -0.08, -0.01], [-0.06, -0.25, -0.02], 0.028, 0.036)
    return [Wearable(join([*fingers, palm, arm]), 0, Surface.SKIN, skin, 0.45, 0.028)]


def _microphone(rng: np.random.Generator, skin: _Array) -> list[Wearable]:
    head = ellipsoid([0.025, 0.03, 0.025]).moved(np.eye(3), [0, 0.02, 0])
    foam = Wearable(head, 0, Surface.MATTE, surface_color(rng) * 0.4, 0.8, 0.02)
    handle = capsule([0, -0.005, 0], [0, -0.17, 0], 0.017, 0.012)
    return [foam, _solid(handle, surface_color(rng) * 0.5), *_fist(rng, skin)]


def _paper(rng: np.random.Generator, skin: _Array) -> list[Wearable]:
    x, y = np.meshgrid(np.linspace(-0.105, 0.105, 9), np.linspace(0.148, -0.148, 9))
    bow = rng.uniform(-4, 4) * x**2 + rng.uniform(-2, 2) * y**2
    page = sheet(np.stack([x, y, bow], axis=-1), repeat=2.0)
    fabric = wear.fabric(rng)
    if rng.random() < 0.5:
        return [Wearable(page, 0, Surface.MATTE, np.full(3, 0.75), 0.9, 0.02)]
    return [replace(wear.dressed(page, 0, fabric), bump_m=0.0)]


def _arm(rng: np.random.Generator, skin: _Array) -> list[Wearable]:
    limb = capsule([-0.3, 0, 0], [0.22, rng.uniform(-0.05, 0.05), 0], 0.05, 0.036)
    if rng.random() < 0.6:
        return [wear.dressed(limb, 0, wear.fabric(rng))]
    return [Wearable(limb, 0, Surface.SKIN, skin, 0.45, 0.028)]


def _ball(rng: np.random.Generator, skin: _Array) -> list[Wearable]:
    mesh = ellipsoid(np.exp(rng.uniform(np.log(0.02), np.log(0.08), 3)))
    return [replace(wear.dressed(mesh, 0, wear.fabric(rng)), roughness=rng.uniform(0.2, 0.9))]


_MAKERS = {
    "hand": _hand,
    "mug": _mug,
    "phone": _phone,
    "microphone": _microphone,
    "paper": _paper,
    "arm": _arm,
    "ball": _ball,
}


def occluder_pieces(occluder: Occluder) -> list[Piece]:
    """The parts of an occluder, ready to draw."""
    return [mesh_piece(item, item.mesh.vertices, item.mesh.normals) for item in occluder.parts]
