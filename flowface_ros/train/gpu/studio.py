"""From people, views and lights to a batch with its truth, on one device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from flowface_ros import rigid
from flowface_ros.align.crop import FACE_MARGIN
from flowface_ros.align.embedding import SKIN_POINTS, landmark_points
from flowface_ros.align.landmark_net import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.train.batch import Batch
from flowface_ros.train.gpu.bank import DeviceAsset, Lights
from flowface_ros.train.gpu.drawing import Stage, Views
from flowface_ros.train.gpu.posing import HeadPoser
from flowface_ros.train.gpu.render import render, texels_seen
from flowface_ros.train.shots import Shots
from flowface_ros.train.studio import DEPTH_SLACK_M


@dataclass(frozen=True)
class Cast:
    """Who and what is in B pictures. people, things: of each. turns: (B,) radians that a thing is
    turned about the line of sight. lights: of the B pictures. background: (B, S, S, 3) linear."""

    people: list[DeviceAsset]
    things: list[DeviceAsset | None]
    turns: Tensor
    lights: Lights
    background: Tensor

    def __getitem__(self, rows: slice) -> Cast:
        return Cast(
            self.people[rows],
            self.things[rows],
            self.turns[rows],
            self.lights[rows],
            self.background[rows],
        )


class GpuStudio:
    """Draws batches of views of a head model. compiled: shading through torch.compile."""

    def __init__(
        self, model: HeadModel, crop_px: int, grid: int, device: torch.device,
        compiled: bool = False,
    ) -> None:  # fmt: skip
        self.crop_px, self.device, self._compiled = crop_px, device, compiled
        self.poser, self.stage = HeadPoser(model, device), Stage(model, device)
        self._texels = self._on_device(model, texel_grid(model, grid).points)
        self._landmarks = self._on_device(model, landmark_points(model)[:SKIN_POINTS])

    def _on_device(self, model: HeadModel, points: SurfacePoints) -> tuple[Tensor, Tensor]:
        corners = torch.from_numpy(np.array(model.triangles[points.triangle], np.int64))
        weights = torch.from_numpy(points.barycentric.astype(np.float32))
        return corners.to(self.device), weights[..., None].to(self.device)

    def _put(self, array: NDArray) -> Tensor:
        return torch.from_numpy(np.array(array, np.float32)).to(self.device)

    @torch.no_grad()
    def batch(self, shots: Shots, cast: Cast, texels: Tensor) -> Batch:
        """texels: the banks' textures."""
        shape = torch.stack([asset.shape for asset in cast.people])
        rotvecs = [shots.rotation, shots.neck, shots.jaw, shots.left_eye, shots.right_eye]
        rotations = self._put(rigid.rotation_from_rotvec(np.stack(rotvecs, axis=1)))
        place = self._put(shots.direction * shots.distance_m[:, None])
        posed = self.poser.pose(shape, self._put(shots.expression), rotations, place)
        landmarks = _at(posed.vertices, self._landmarks)
        views = crop_views(
            landmarks, self._put(shots.log_scale), self._put(shots.shift), self.crop_px, FACE_MARGIN
        )
        thing_pose = _before_faces(landmarks.mean(dim=1), cast.turns)
        drawing = self.stage.draw(posed, cast.people, cast.things, thing_pose)
        picture = render(drawing, views, cast.lights, texels, cast.background, self._compiled)
        points = _at(posed.vertices, self._texels)
        flat = points[..., :2] / points[..., 2:].clamp(min=1e-6)
        position = views.focal_px[:, None, None] * flat + views.middle_px[:, None]
        visible = texels_seen(
            position, points[..., 2], picture.seen, drawing.head_triangles, DEPTH_SLACK_M
        )
        eyes = landmarks[:, [LEFT_EYE_OUTER, RIGHT_EYE_OUTER]]
        iod = (eyes[:, 0] - eyes[:, 1]).norm(dim=1) / eyes[..., 2].mean(dim=1) * views.focal_px
        light = picture.light.clamp(0, 60000).permute(0, 3, 1, 2).contiguous()
        return Batch(light, position, visible, iod)


def _at(vertices: Tensor, points: tuple[Tensor, Tensor]) -> Tensor:
    """Surface points (B, n, 3) of posed vertices (B, V, 3)."""
    corners, weights = points
    return (vertices[:, corners] * weights).sum(dim=2)


def crop_views(
    landmarks: Tensor, log_scale: Tensor, shift: Tensor, size: int, margin: float
) -> Views:
    """As `shots.crop_camera`, for landmarks (B, n, 3)."""
    places = landmarks[..., :2] / landmarks[..., 2:]
    low, high = places.amin(dim=1), places.amax(dim=1)
    side = margin * (high - low).amax(dim=1) * torch.exp(log_scale)
    focal = size / side
    centre = (low + high) / 2 + side[:, None] * shift
    return Views(focal, (size - 1) / 2 - focal[:, None] * centre, size)


def _before_faces(face: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations (B, 3, 3) and places (B, 3) of things made for a face at the origin that is seen
    from (0, 0, -1), before faces at (B, 3) seen from the origin."""
    z = normalize(face, dim=1)
    down = torch.tensor([0.0, 1.0, 0.0], device=face.device).expand_as(z)
    x = normalize(torch.linalg.cross(down, z), dim=1)
    y = torch.linalg.cross(z, x)
    cosine, sine = torch.cos(turns)[:, None], torch.sin(turns)[:, None]
    turned = torch.stack([cosine * x + sine * y, cosine * y - sine * x, z], dim=2)
    return turned, face
