"""Pictures of people, with exact ground truth of what is seen at every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera
from flowface_ros.head.state import HeadState
from flowface_ros.synth.person.assembly import pose_person
from flowface_ros.synth.person.person import Person
from flowface_ros.synth.render.blocks import PLACE
from flowface_ros.synth.render.drawing import Drawing, Samples, projected
from flowface_ros.synth.render.glass import blend_glass
from flowface_ros.synth.render.light import Light
from flowface_ros.synth.render.materials import material_words
from flowface_ros.synth.render.pieces import PosedPerson
from flowface_ros.synth.render.raster import DEFAULT_NEAR_M, Fragments, rasterize
from flowface_ros.synth.render.samples import SAMPLES
from flowface_ros.synth.render.shading import shade_fragments
from flowface_ros.synth.textures import srgb_from_linear
from flowface_ros.synth.things.occluders import Occluder, occluder_pieces

_LID_REACH_M = 0.0014


@dataclass(frozen=True)
class RenderedImage:
    """A picture and what is seen in it.

    color: (H, W, 3) float32 linear light. face: (H, W) int32, which head's own surface is seen at
    the pixel's centre, -1 where it is hidden by hair, clothes or things, or missed.
    fragments: triangle of that head's model and barycentric coordinates there (-1, 0 where face
    is -1); depth of whatever opaque thing is seen, infinity for the background.
    """

    color: NDArray[np.float32]
    face: NDArray[np.int32]
    fragments: Fragments

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB."""
        return srgb_from_linear(self.color)


def render_scene(
    heads: Sequence[tuple[Person, HeadState]],
    camera: Camera,
    light: Light,
    background: NDArray[np.float32] | None = None,
    occluders: Sequence[Occluder] = (),
) -> RenderedImage:
    """People before a camera; heads and occluders hide one another.

    heads: people and their states in the rig frame. background: (H, W, 3) linear light; black
    when None. The lens acts on vertices: triangles stay straight between them. Lenses of glasses
    do not hide what is behind them in the ground truth.
    """
    image = _canvas(camera, background)
    posed = [_posed(person, state, camera) for person, state in heads]
    things = [piece for occluder in occluders for piece in occluder_pieces(occluder)]
    drawn = Drawing(posed, things, camera, light)
    samples = _sampled(drawn, camera)
    _shade(drawn, samples, camera, light, image)
    truth, face = drawn.truth(camera, samples)
    _glass(drawn, camera, light, truth.depth, image)
    return RenderedImage(image, face, truth)


def _canvas(camera: Camera, background: NDArray[np.float32] | None) -> NDArray[np.float32]:
    shape = (camera.height, camera.width, 3)
    if background is None:
        return np.zeros(shape, np.float32)
    if background.shape != shape:
        raise ValueError(f"background is {background.shape}, must be {shape} as the camera's image")
    return np.array(background, np.float32)


def _posed(person: Person, state: HeadState, camera: Camera) -> PosedPerson:
    rig_from_head = state.rig_from_head
    ends = rigid.apply(rig_from_head, np.array([[0, 0, 0], [0, 0.05, 0.0]]))
    pixels, valid = camera.project(rigid.apply(camera.camera_from_rig, ends))
    depth = max(rigid.apply(camera.camera_from_rig, ends[0])[2], DEFAULT_NEAR_M)
    up = pixels[1] - pixels[0] if valid.all() else np.array([0.0, -1.0])
    up = up / (np.linalg.norm(up) + 1e-9)
    return pose_person(person, state, depth / camera.intrinsics[0, 0], up)


def _light_arrays(
    light: Light,
) -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], ...]]:
    fields = (light.directions, light.colors, light.angular_radius)
    lights = tuple(np.ascontiguousarray(f, np.float32) for f in fields)
    return np.ascontiguousarray(light.ambient, np.float32), lights


def _sampled(drawn: Drawing, camera: Camera) -> Samples:
    pixels = drawn.pixels.copy()
    pixels[:, :2] = pixels[:, :2] * SAMPLES + (SAMPLES - 1) / 2
    drawn.attributes[:, PLACE : PLACE + 3] = pixels
    return Samples(*drawn.fill(pixels, camera.width * SAMPLES, camera.height * SAMPLES))


def _shade(
    drawn: Drawing, samples: Samples, camera: Camera, light: Light, image: NDArray[np.float32]
) -> None:
    lid_step = np.float32(SAMPLES * camera.intrinsics[0, 0] * _LID_REACH_M)
    mesh = drawn.attributes, drawn.triangles, drawn.material
    table = (*material_words(drawn.materials), drawn.textures)
    ambient, lights = _light_arrays(light)
    shade_fragments(
        samples.triangle, samples.inverse_depth, lid_step, mesh, table,
        _viewer(camera), ambient, lights, (drawn.shadow_maps, drawn.shadow_frames), image,
    )  # fmt: skip


def _viewer(camera: Camera) -> NDArray[np.float32]:
    return camera.rig_from_camera[:3, 3].astype(np.float32)


def _glass(
    drawn: Drawing,
    camera: Camera,
    light: Light,
    depth: NDArray[np.float32],
    image: NDArray[np.float32],
) -> None:
    """Lay the lenses of glasses over the image."""
    for piece in drawn.glass:
        pixels = projected(piece, camera)
        fragments = rasterize(pixels, piece.triangles, camera.width, camera.height)
        row = piece.materials[0]
        passed = (row["tint"] * piece.transparency).astype(np.float32)
        blend_glass(
            fragments.triangle, fragments.barycentric, fragments.depth, depth,
            piece.position.astype(np.float32), piece.normal.astype(np.float32), piece.triangles,
            passed, np.float32(row["specular"]), _viewer(camera), *_light_arrays(light), image,
        )  # fmt: skip
