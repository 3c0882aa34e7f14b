"""From what Blender traced to a picture as a camera sends it, with the truth of every texel."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
from blender_scenes.sampling import Scene
from numpy.typing import NDArray

from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.state import HeadState
from flowface_ros.synth.scene.picture import render_scene
from flowface_ros.synth.scene.sensor import Sensor, automatic_exposure, sample_sensor
from flowface_ros.train.picture_set import Labels, TruePicture, write_picture
from flowface_ros.train.studio import iod_px, texel_truth

_GOOD_SHARE = 0.5
"""Of cameras without faults worth the name."""
_GOOD = Sensor(electrons=4000, read_noise=0.004)
_SMALL_FACE_PX = 48.0
_CAMERA_STREAM, _NOISE_STREAM = 1, 2

Image = NDArray[np.uint8]


class Darkroom:
    """Finishes pictures of a seed. texels: what the truth is of. face: which of them are the
    face's skin. landmarks: the 468 points on the skin."""

    def __init__(
        self,
        texels: SurfaceEvaluator,
        face: NDArray[np.bool_],
        landmarks: SurfaceEvaluator,
        seed: int,
    ) -> None:
        self._texels, self._face, self._landmarks, self._seed = texels, face, landmarks, seed

    def finish(
        self, folder: Path, number: int, scene: Scene, traced: NDArray, sequence: int | None = None
    ) -> str:
        """Writes picture `number`; returns 16 hexadecimal digits of it.

        traced: (H, W, 3). sequence: the pictures of one are taken by one camera.
        """
        light = traced.astype(np.float32)
        landmarks = self._landmarks.positions(scene.state)
        image, camera = self._photographed(light, scene, landmarks, number, sequence)
        position, visible = self._truth(scene)
        bare = replace(scene.person, hair=(), wearables=())
        _, bare_visible = self._truth(replace(scene, person=bare, occluders=()))
        seen = [(v & self._face).sum() for v in (visible, bare_visible)]
        labels = Labels(
            yaw_deg=scene.yaw_deg,
            covered=float(1 - seen[0] / max(seen[1], 1)),
            face_px=_face_px(scene, landmarks) if camera != "small" else _SMALL_FACE_PX,
            camera=camera,
            things=tuple(occluder.name for occluder in scene.occluders),
        )
        truth = TruePicture(
            image=image,
            position_px=position,
            visible=visible,
            iod_px=float(iod_px(landmarks, scene.camera)),
            intrinsics=scene.camera.intrinsics,
            state=_state_arrays(scene.state),
            labels=labels,
        )
        return write_picture(folder, number, truth, light)

    def _truth(self, scene: Scene) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        drawn = render_scene(
            [(scene.person, scene.state)], scene.camera, scene.light, None, scene.occluders
        )
        return texel_truth(self._texels, scene.state, scene.camera, drawn)

    def _photographed(
        self,
        light: NDArray[np.float32],
        scene: Scene,
        landmarks: NDArray,
        number: int,
        sequence: int | None,
    ) -> tuple[Image, str]:
        """The picture, and what kind of camera took it: good, ordinary or small."""
        camera = number if sequence is None else sequence
        rng = np.random.default_rng([self._seed, camera, _CAMERA_STREAM])
        exposure = automatic_exposure(light)
        ordinary = sample_sensor(rng, scene.camera.width)
        ordinary = replace(ordinary, exposure=ordinary.exposure * exposure)
        quality = int(rng.uniform(40, 95))
        if scene.small:
            size = scene.camera.width
            side = round(size * _SMALL_FACE_PX / _face_px(scene, landmarks))
            reduced = cv2.resize(light, (side, side), interpolation=cv2.INTER_AREA)
            coarse = _compressed(ordinary.develop(reduced, rng), quality)
            image = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)
            return np.asarray(image, np.uint8), "small"
        good = rng.random() < _GOOD_SHARE
        if sequence is not None:
            rng = np.random.default_rng([self._seed, number, _NOISE_STREAM])
        if good:
            return replace(_GOOD, exposure=exposure).develop(light, rng), "good"
        return _compressed(ordinary.develop(light, rng), quality), "ordinary"


def _face_px(scene: Scene, landmarks: NDArray) -> float:
    """Longer side of the box around the landmarks."""
    pixels, _ = scene.camera.project(landmarks)
    return float(np.ptp(pixels, axis=0).max())


def _compressed(image: Image, quality: int) -> Image:
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]


def _state_arrays(state: HeadState) -> dict[str, NDArray]:
    values = {field.name: getattr(state, field.name) for field in fields(state)}
    return {name: np.asarray(value) for name, value in values.items() if value is not None}
