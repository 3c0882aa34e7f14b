"""A synthetic scene from one seed: people, their motion, cameras, light and room."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.camera.rig import Rig
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState
from flowface_ros.synth.person.person import DEFAULT_TEXTURE_SIZE, Person, sample_person
from flowface_ros.synth.render.light import Light, even_directions, sample_light, sh_basis
from flowface_ros.synth.scene.backdrop import Backdrop, sample_panorama
from flowface_ros.synth.scene.motion import PersonMotion, sample_motion
from flowface_ros.synth.scene.occlusion import Occlusions, sample_occlusions
from flowface_ros.synth.scene.picture import RenderedImage, render_scene
from flowface_ros.synth.scene.rigs import (
    LENS_MODELS,
    MAX_CAMERAS,
    MAX_FACES,
    people_places,
    sample_rig,
    subject_distance,
)
from flowface_ros.synth.scene.sensor import (
    Sensor,
    automatic_exposure,
    jittered_stamps_ns,
    sample_sensor,
)

START_NS = 1_700_000_000 * 1_000_000_000
"""Stamp of t = 0: a fixed date, so that a seed gives the same bag on every day."""
_MAX_BLUR_STEPS = 5
_BLUR_STEP_PX = 1.0
"""Motion between the sub-frames of one exposure that the eye does not tell from a smear."""
_MOTION_SAMPLES = 97
"""Every so many vertices are followed to measure motion blur."""
_LIGHT_FROM_RIG = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
"""Lights are drawn in the axes of an upright camera that looks along the rig's x axis."""


class _Stream(IntEnum):
    """What random numbers are for: each has its own stream, so that a change in one part of a
    scene leaves the others as they were."""

    PLACES = 0
    PERSON = 1
    MOTION = 2
    RIG = 3
    LIGHT = 4
    ROOM = 5
    SENSOR = 6
    STAMPS = 7
    NOISE = 8
    OCCLUSION = 9


@dataclass(frozen=True)
class SceneConfig:
    """What a scene is made of; equal configurations give equal scenes.

    width, height: of the images, pixels.
    lens: one of `rigs.LENS_MODELS`.
    moving_rig: the cameras sit on a carrier that pans and sways.
    stamp_jitter_s: how far a camera's stamps may be off its regular ones.
    """

    seed: int = 0
    cameras: int = 1
    faces: int = 1
    width: int = 640
    height: int = 480
    fps: float = 30.0
    duration_s: float = 4.0
    lens: str = "plumb_bob"
    moving_rig: bool = False
    stamp_jitter_s: float = 0.002

    def __post_init__(self) -> None:
        self._require("seed", self.seed >= 0, "0 or more")
        self._require("cameras", 1 <= self.cameras <= MAX_CAMERAS, f"1 to {MAX_CAMERAS}")
        self._require("faces", 0 <= self.faces <= MAX_FACES, f"0 to {MAX_FACES}")
        self._require("width", 16 <= self.width <= 8192, "16 to 8192 pixels")
        self._require("height", 16 <= self.height <= 8192, "16 to 8192 pixels")
        self._require("fps", 0 < self.fps <= 1000, "above 0, at most 1000")
        self._require("duration_s", 0 < self.duration_s <= 3600, "above 0, at most 3600 s")
        self._require("lens", self.lens in LENS_MODELS, f"one of {', '.join(LENS_MODELS)}")
        half = 0.5 / self.fps
        self._require(
            "stamp_jitter_s",
            0 <= self.stamp_jitter_s < half,
            f"0 to below half the time between images, {half:g} s",
        )

    def _require(self, name: str, good: bool, rule: str) -> None:
        if not good:
            raise ValueError(f"{name}: {getattr(self, name)!r} is not allowed, must be {rule}")

    @property
    def frames(self) -> int:
        """Images of each camera."""
        return max(1, round(self.duration_s * self.fps))


@dataclass(frozen=True, eq=False)
class SceneImage:
    """One image of one camera.

    color: (H, W, 3) uint8 RGB. rendered: of the middle of the exposure, with its fragments.
    """

    color: NDArray[np.uint8]
    rendered: RenderedImage


class Scene:
    """People before cameras. Time t is in seconds from the scene's start."""

    def __init__(self, config: SceneConfig, model: HeadModel | None = None) -> None:
        """model: the head that everybody wears; the built-in one when None."""
        self.config = config
        self.model = model or load_builtin_head()
        distance = subject_distance(self._rng(_Stream.PLACES), config.faces)
        self.moving_rig = sample_rig(
            self._rng(_Stream.RIG),
            config.cameras,
            (config.width, config.height),
            distance,
            config.faces,
            config.lens,
            config.moving_rig,
        )
        places = people_places(self._rng(_Stream.PLACES, 1), config.faces, distance)
        self.people: tuple[Person, ...] = tuple(
            sample_person(self.model, self._rng(_Stream.PERSON, i), _texture_size(config.height))
            for i in range(config.faces)
        )
        self.motions: tuple[PersonMotion, ...] = tuple(
            self._motion(i, place) for i, place in enumerate(places)
        )
        self.occlusions: tuple[Occlusions, ...] = tuple(
            self._occlusions(i) for i in range(config.faces)
        )
        self.light = _rotated(sample_light(self._rng(_Stream.LIGHT)), _LIGHT_FROM_RIG)
        self.backdrop = Backdrop(sample_panorama(self._rng(_Stream.ROOM)))
        self._sensors: dict[int, Sensor] = {}

    def _rng(self, stream: _Stream, *index: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, int(stream), *index])

    def _motion(self, face: int, place: NDArray[np.float64]) -> PersonMotion:
        cameras = np.array([c.rig_from_camera[:3, 3] for c in self.moving_rig.cameras])
        shape = self.people[face].shape
        rng = self._rng(_Stream.MOTION, face)
        return sample_motion(self.model, shape, rng, self.config.duration_s, place, cameras)

    def _occlusions(self, face: int) -> Occlusions:
        path, person = self.motions[face].path, self.people[face]
        cameras = np.array([c.rig_from_camera[:3, 3] for c in self.moving_rig.cameras])
        rng = self._rng(_Stream.OCCLUSION, face)
        skin = _skin_color(person)
        return sample_occlusions(rng, path, path.place, cameras, self.config.duration_s, skin)

    @property
    def camera_names(self) -> tuple[str, ...]:
        return self.moving_rig.names

    @property
    def primary(self) -> int:
        """The camera at whose stamps the truth is published."""
        return self.moving_rig.primary

    def head_state(self, face: int, t: float) -> HeadState:
        """The true head of a person at time t."""
        return self.motions[face].state(t)

    def head_states(self, t: float) -> list[HeadState]:
        """The true heads of all people at time t."""
        return [motion.state(t) for motion in self.motions]

    def cameras(self, t: float) -> Rig:
        """The rig, as it stands at time t."""
        return self.moving_rig.at(t)

    def stamps_ns(self, camera: int) -> NDArray[np.int64]:
        """Stamps (frames,) of a camera's images."""
        c = self.config
        rng = self._rng(_Stream.STAMPS, camera)
        return jittered_stamps_ns(rng, c.frames, c.fps, c.stamp_jitter_s, START_NS)

    def sensor(self, camera: int) -> Sensor:
        """A camera's sensor, whose automatic exposure has looked at the scene's first moment."""
        if camera not in self._sensors:
            sensor = sample_sensor(self._rng(_Stream.SENSOR, camera), self.config.width)
            light = self._render_instant(camera, 0.0).color
            exposure = sensor.exposure * automatic_exposure(light)
            self._sensors[camera] = replace(sensor, exposure=exposure)
        return self._sensors[camera]

    def render(self, camera: int, t: float) -> SceneImage:
        """The image that a camera takes at time t, the middle of its exposure."""
        sensor = self.sensor(camera)
        times = self._exposure_times(camera, t, sensor.shutter_s)
        images = [self._render_instant(camera, instant) for instant in times]
        light = np.mean([image.color for image in images], axis=0)
        noise = self._rng(_Stream.NOISE, camera, round(t * 1e9))
        return SceneImage(sensor.develop(light, noise), images[len(images) // 2])

    def _render_instant(self, camera: int, t: float) -> RenderedImage:
        seen_by = self.cameras(t).cameras[camera]
        heads = list(zip(self.people, self.head_states(t), strict=True))
        things = [thing for occlusions in self.occlusions for thing in occlusions.at(t)]
        return render_scene(heads, seen_by, self.light, self.backdrop.view(seen_by), things)

    def _exposure_times(self, camera: int, t: float, shutter_s: float) -> list[float]:
        """Instants whose mean image is that of the exposure: more of them the faster things move,
        always an odd number, so that one is at t."""
        ends = [self._followed_pixels(camera, t + side * shutter_s) for side in (-0.5, 0.5)]
        travel = np.linalg.norm(ends[1] - ends[0], axis=-1)
        longest = float(np.nanmax(travel, initial=0.0))
        steps = min(1 + 2 * int(0.5 * longest / _BLUR_STEP_PX + 0.5), _MAX_BLUR_STEPS)
        return [t + shutter_s * ((i + 0.5) / steps - 0.5) for i in range(steps)]

    def _followed_pixels(self, camera: int, t: float) -> NDArray[np.float64]:
        """Pixels (n, 2) of some vertices of everybody."""
        seen_by = self.cameras(t).cameras[camera]
        points = [
            pose_vertices(self.model, state)[::_MOTION_SAMPLES] for state in self.head_states(t)
        ]
        if not points:
            return np.zeros((0, 2))
        return seen_by.project(rigid.apply(seen_by.camera_from_rig, np.concatenate(points)))[0]


def seconds(stamp_ns: int) -> float:
    """Scene time of a stamp."""
    return (int(stamp_ns) - START_NS) * 1e-9


def _texture_size(height: int) -> int:
    """Texels across a skin texture for images of this height: finer ones would not be seen."""
    return int(np.clip(2 ** np.ceil(np.log2(1.5 * height)), 128, DEFAULT_TEXTURE_SIZE))


def _skin_color(person: Person) -> NDArray[np.float64]:
    """Linear RGB (3,) of the bridge of the nose, which no beard or make-up covers."""
    model, texture = person.model, person.skin[0]
    bridge = model.landmarks["ibug68"][27:30].interpolate(model.uv_triangles, model.uv)
    columns, rows = (bridge * len(texture)).astype(int).T
    return np.mean((texture[rows, columns, :3] / 255.0) ** 2, axis=0)


def _rotated(light: Light, light_from_rig: NDArray[np.float64]) -> Light:
    """The same light in the rig's axes."""
    directions = even_directions(64)
    irradiance = sh_basis(directions @ light_from_rig.T) @ light.ambient
    # The nine polynomials turn into each other, so the fit is exact.
    ambient = np.linalg.lstsq(sh_basis(directions), irradiance, rcond=None)[0]
    return replace(
        light,
        ambient=ambient.astype(np.float32),
        directions=(light.directions @ light_from_rig).astype(np.float32),
    )
