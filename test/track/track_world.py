"""A world without pictures: cameras, people who move, and an aligner that knows where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial.transform import Rotation

from flowface_ros import rigid
from flowface_ros.align.aligner import FaceAlignment, Picture
from flowface_ros.align.crop import Crop
from flowface_ros.align.detector import Detection
from flowface_ros.align.embedding import landmark_points
from flowface_ros.align.landmark_net import FaceLandmarks, crop_from_landmarks
from flowface_ros.align.observation import Observation
from flowface_ros.align.onnx_session import Device
from flowface_ros.camera.camera import Camera, intrinsics_matrix
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.synth.scene.rigs import look_at
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.frames import TrackResult, ViewFrame
from flowface_ros.track.pipeline import Tracker

FPS = 30.0
START_NS = 10**15
GRID = 20
NOISE_PX = 0.5
_COVERS_PX = 0.6
"""Of two faces whose middles are nearer than this share of their size, the far one is hidden."""

Motion = Callable[[float], HeadState | None]
"""A person's head at a time (s); None when there is nobody."""


def camera_at(name: str, position: Sequence[float], target: Sequence[float]) -> Camera:
    pose = look_at(np.array(position, float), np.array(target, float), 0.0)
    return Camera(
        name, 640, 480, intrinsics_matrix(550.0, 550.0, 319.5, 239.5), rig_from_camera=pose
    )


def facing(model: HeadModel, place: Sequence[float], yaw: float = 0.0, seed: int = 0) -> HeadState:
    """A head of random shape at a place of the rig (x forward, z up), facing the rig's origin."""
    rng = np.random.default_rng(seed)
    upright = np.column_stack([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
    rotation = upright @ rigid.rotation_from_rotvec([0.0, yaw, 0.0])
    return replace(
        neutral_state(model),
        translation=np.array(place, float),
        rotation=Rotation.from_matrix(rotation).as_rotvec(),
        shape=rng.normal(0, 0.7, model.shape_count),
    )


LEFT = camera_at("left", [0, 0.35, 0], [0.9, 0, 0])
RIGHT = camera_at("right", [0, -0.35, 0], [0.9, 0, 0])
MIDDLE = camera_at("middle", [0, 0, 0.02], [0.9, 0, 0])


def still(state: HeadState) -> Motion:
    return lambda t: state


def moving(state: HeadState, velocity: Sequence[float]) -> Motion:
    return lambda t: replace(state, translation=state.translation + t * np.array(velocity))


def swaying(state: HeadState) -> Motion:
    """A head that sways by centimetres and talks."""
    count = len(state.expression)

    def at(t: float) -> HeadState:
        sway = [0.02 * np.sin(2 * t), 0.06 * np.sin(3 * t), 0.02 * np.sin(5 * t)]
        talk = np.clip(0.3 * np.sin(np.arange(count) + 6 * t), 0, 1)
        return replace(state, translation=state.translation + sway, expression=talk)

    return at


@dataclass
class World:
    """cameras and people; `blind(camera, t)` tells whether a camera's image is black."""

    model: HeadModel
    cameras: list[Camera]
    people: list[Motion]
    noise_px: float = NOISE_PX
    clutter: list[tuple[str, float, np.ndarray]] = field(default_factory=list)
    """(camera, time, pixel): something that is taken for a face there, then."""
    blind: Callable[[str, float], bool] = lambda camera, t: False
    offset_ns: dict[str, int] = field(default_factory=dict)
    """How much later than the others a camera takes its images."""

    def frames(self, index: int, cameras: Sequence[str] | None = None) -> list[ViewFrame]:
        """The set of an index; images carry their camera and stamp in their first pixels."""
        made = []
        for row, camera in enumerate(self.cameras):
            if cameras is None or camera.name in cameras:
                stamp = START_NS + round(index * 1e9 / FPS) + self.offset_ns.get(camera.name, 0)
                image = np.zeros((camera.height, camera.width, 3), np.uint8)
                image[0, :3].reshape(-1)[:] = np.frombuffer(
                    np.array([stamp], np.int64).tobytes() + bytes([row]), np.uint8
                )
                made.append(ViewFrame(camera, image, stamp))
        return made

    def seen(self, image: np.ndarray) -> tuple[Camera, float, int]:
        """Camera, time and stamp of an image."""
        head = image[0, :3].tobytes()
        stamp = int(np.frombuffer(head[:8], np.int64)[0])
        return self.cameras[head[8]], (stamp - START_NS) * 1e-9, stamp

    def states(self, t: float) -> list[HeadState]:
        return [state for motion in self.people if (state := motion(t)) is not None]

    def visible(self, camera: Camera, t: float, evaluator: SurfaceEvaluator) -> list[np.ndarray]:
        """Pixels (N, 2) of the points of every head whose face the camera sees."""
        if self.blind(camera.name, t):
            return []
        shown = []
        for state in self.states(t):
            skull = rigid.rotation_from_rotvec(state.rotation)
            away = camera.rig_from_camera[:3, 3] - state.translation
            if skull[:, 2] @ away < 0:
                continue
            pixels, seen = camera.project(
                rigid.apply(camera.camera_from_rig, evaluator.positions(state))
            )
            if seen.all() and camera.contains(pixels.mean(axis=0)):
                shown.append((float(np.linalg.norm(away)), pixels))
        shown.sort(key=lambda item: item[0])
        kept: list[np.ndarray] = []
        for _, pixels in shown:
            size = np.sqrt(np.var(pixels, axis=0).sum())
            middles = [np.linalg.norm(pixels.mean(0) - k.mean(0)) for k in kept]
            if not middles or min(middles) > 2 * _COVERS_PX * size:
                kept.append(pixels)
        return kept


class FakeFinder:
    """Finds the world's faces, and its clutter."""

    def __init__(self, world: World, score: float = 0.9) -> None:
        self._world, self._score = world, score
        self._landmarks = SurfaceEvaluator(world.model, landmark_points(world.model))
        self.calls = 0
        self.followed: list[np.ndarray] = []
        self.blind_to: Callable[[float], bool] = lambda t: False

    def detect_faces(
        self,
        image: np.ndarray,
        max_faces: int | None = None,
        followed: Sequence[np.ndarray] = (),
    ) -> list[FaceLandmarks]:
        self.calls += 1
        self.followed = list(followed)
        camera, t, _ = self._world.seen(image)
        if self.blind_to(t):
            return []
        found = list(self._world.visible(camera, t, self._landmarks))
        mean = self._landmarks.positions(neutral_state(self._world.model))
        for name, when, pixel in self._world.clutter:
            if name == camera.name and abs(when - t) < 0.5 / FPS:
                found.append(pixel + 400 * (mean[:, :2] * [1, -1]))
        faces = []
        for pixels in found[:max_faces]:
            box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
            points = np.column_stack([pixels, np.zeros(len(pixels))])
            detection = Detection(box, self._score, np.zeros((6, 2)))
            faces.append(FaceLandmarks(points, 1.0, crop_from_landmarks(points), detection))
        return faces


class FakeAligner:
    """Answers with the projected truth of the face nearest to the crop's middle, with noise."""

    crop_size = 256
    device = Device("cpu", "fp32")

    def __init__(self, world: World, grid: int = GRID) -> None:
        self._world = world
        self.grid = texel_grid(world.model, grid)
        self.points = self.grid.points
        self._evaluator = SurfaceEvaluator(world.model, self.points)
        self.batches: list[int] = []

    def align(
        self, pictures: Sequence[Picture], crops: Sequence[Sequence[Crop]]
    ) -> list[list[FaceAlignment]]:
        self.batches.append(sum(len(c) for c in crops))
        return [
            [self._answer(picture, crop) for crop in of_picture]
            for picture, of_picture in zip(pictures, crops, strict=True)
        ]

    def align_faces(self, picture: Picture, faces: Sequence[FaceLandmarks]) -> list[FaceAlignment]:
        return self.align([picture], [[face.crop for face in faces]])[0]

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None:
        pass

    def _answer(self, picture: Picture, crop: Crop) -> FaceAlignment:
        camera, t, stamp = self._world.seen(picture.image)
        middle = crop.to_image([127.5, 127.5])
        faces = self._world.visible(camera, t, self._evaluator)
        distance = [np.linalg.norm(pixels.mean(axis=0) - middle) for pixels in faces]
        rng = np.random.default_rng([stamp % 2**32, self._world.cameras.index(camera)])
        noise = self._world.noise_px
        near = bool(faces) and min(distance) < 0.35 * crop.size * crop.scale
        if near:
            pixels = faces[int(np.argmin(distance))]
            pixels = pixels + rng.normal(0, noise, pixels.shape)
            presence = 0.99
        else:
            spread = rng.normal(0, 20, (len(self.points), 2))
            pixels, presence = middle + spread, 0.1 if not self._is_clutter(camera, t) else 0.9
        sigma = np.full(len(pixels), max(noise, 1e-3))
        observation = Observation(self.points, pixels, sigma, camera.name, picture.stamp_ns)
        return FaceAlignment(observation, presence, crop)

    def _is_clutter(self, camera: Camera, t: float) -> bool:
        return any(c == camera.name and abs(w - t) < 0.5 / FPS for c, w, _ in self._world.clutter)


def make_tracker(world: World, **config: object) -> Tracker:
    return Tracker(world.model, FakeAligner(world), FakeFinder(world), TrackerConfig(**config))


def run(world: World, tracker: Tracker, count: int, start: int = 0) -> list[TrackResult]:
    return [tracker.update(world.frames(start + i)) for i in range(count)]


def ids(result: TrackResult) -> list[str]:
    return [head.id for head in result.heads]


def error_m(result: TrackResult, state: HeadState) -> float:
    """Distance of the nearest head from a true one."""
    return min(float(np.linalg.norm(h.state.translation - state.translation)) for h in result.heads)
