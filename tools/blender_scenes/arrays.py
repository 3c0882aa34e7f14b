"""A scene as plain arrays and words, which Blender's own Python can read without this package."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from blender_scenes.brows import brow_strands
from blender_scenes.sampling import Scene
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.synth.person.assembly import pose_person
from flowface_ros.synth.render.materials import Surface
from flowface_ros.synth.render.pieces import Piece
from flowface_ros.synth.things.occluders import occluder_pieces

_FINEST = 1e-5
"""Metres a pixel: no strand is left out, no texture reduced."""


def scene_arrays(scene: Scene) -> dict[str, NDArray]:
    """`words`: JSON of camera, lights and materials; the rest by piece, `0/position` and so on.

    Frames are as ours: x right, y down, z forward of the camera.
    """
    hair = (*scene.person.hair, *brow_strands(scene.person))
    coarser = tuple(replace(look, strands=look.strands.coarser) for look in hair)
    person = replace(scene.person, hair=coarser)
    posed = pose_person(person, scene.state, _FINEST, np.array([0.0, -1.0]))
    things = [piece for occluder in scene.occluders for piece in occluder_pieces(occluder)]
    arrays: dict[str, NDArray] = {}
    described = []
    for number, piece in enumerate([posed.head, *posed.rest, *things]):
        limb = number > len(posed.rest) and piece.materials[0]["surface"] == Surface.SKIN
        described.append({**_describe(piece), "grown_together": bool(limb)})
        arrays |= {f"{number}/{name}": value for name, value in _geometry(piece).items()}
        for k, texture in enumerate(piece.textures):
            if texture is not None:
                arrays[f"{number}/texture{k}"] = texture
    if scene.surroundings.background is not None:
        arrays["background"] = scene.surroundings.background.astype(np.float16)
    words: dict[str, Any] = {"camera": _camera(scene), "light": _light(scene), "pieces": described}
    words["noise_seed"] = scene.noise_seed
    return {"words": np.array(json.dumps(words, sort_keys=True)), **arrays}


def write_scene(path: Path, arrays: dict[str, NDArray]) -> None:
    """To an npz file, not compressed."""
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def digest(arrays: dict[str, NDArray]) -> str:
    """16 hexadecimal digits of a scene's content, geometry to the nearest 0.1 mm."""
    content = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        content.update(name.encode())
        if name.endswith("position"):
            value = np.rint(value * 1e4).astype(np.int32)
        elif value.dtype.kind == "f":
            continue  # the last bits differ between machines
        if name != "words":
            content.update(np.ascontiguousarray(value).tobytes())
    return content.hexdigest()[:16]


def _geometry(piece: Piece) -> dict[str, NDArray]:
    arrays = {"position": np.asarray(piece.position, np.float32)}
    if piece.strands is not None:
        assert piece.half_width is not None
        count, size = piece.strands
        return {
            "position": arrays["position"].reshape(count, size, 3),
            "half_width": piece.half_width.astype(np.float32),
            "tone": piece.uv.reshape(count, size, 2)[:, 0, 0].astype(np.float32),
        }
    return arrays | {
        "normal": np.asarray(piece.normal, np.float32),
        "uv": piece.uv,
        "triangles": piece.triangles,
        "material": piece.material,
    }


def _describe(piece: Piece) -> dict[str, Any]:
    names = ("tint", "roughness", "specular", "bump_m", "grey", "axis")
    rows = [
        {"surface": Surface(int(row["surface"])).name, **{n: row[n].tolist() for n in names}}
        for row in piece.materials
    ]
    return {
        "strands": piece.strands is not None,
        "transparency": piece.transparency,
        "materials": rows,
    }


def _camera(scene: Scene) -> dict[str, Any]:
    camera = scene.camera
    head = rigid.apply(scene.state.rig_from_head, np.array([0.0, 0.03, 0.08]))
    return {
        "width": camera.width,
        "height": camera.height,
        "intrinsics": camera.intrinsics.tolist(),
        "focus_m": float(head[2]),
        "aperture_m": scene.surroundings.aperture_m,
    }


def _light(scene: Scene) -> dict[str, Any]:
    around, light = scene.surroundings, scene.light
    return {
        "environment": around.environment,
        "turn_rad": around.turn_rad,
        "mean": around.mean.tolist(),
        "directions": light.directions.tolist(),
        "colors": light.colors.tolist(),
        "angular_radius": light.angular_radius.tolist(),
    }
