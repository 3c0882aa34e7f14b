"""Heads of a batch with their hair, clothes and things before them, as one list of triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from flowface_ros.head.model import HeadModel
from flowface_ros.synth.anatomy.head_tables import head_tables
from flowface_ros.train.gpu.asset import FIRST_TRIANGLE, PASSES, SCENE, TEXTURE
from flowface_ros.train.gpu.bank import DeviceAsset
from flowface_ros.train.gpu.posing import Posed, mesh_normals, triangle_frames

_NECK = 1
_MOUTH_DEPTH_M = 0.018
_LEAST_HALF_WIDTH_PX = 0.12
"""As in `synth.render.ribbons`: thinner ones would be seen by too few samples."""


@dataclass(frozen=True)
class Views:
    """B pinhole crops in the rig frame, which is the camera's. focal_px: (B,). middle_px:
    (B, 2) principal point. size: pixels a side."""

    focal_px: Tensor
    middle_px: Tensor
    size: int

    def project(self, points: Tensor, image: Tensor) -> Tensor:
        """Points (n, 3) seen in images (n,): x px, y px, z metres (n, 3)."""
        z = points[:, 2:].clamp(min=1e-6)
        flat = self.focal_px[image, None] * points[:, :2] / z + self.middle_px[image]
        return torch.cat([flat, points[:, 2:]], dim=1)


@dataclass(frozen=True)
class Drawing:
    """N vertices and T triangles of B images in the rig frame; the heads' triangles are first.

    position, direction: (N, 3); direction is the normal, of strands the tangent. uv: (N, 2).
    occlusion, half_width, shadow_width: (N,). vertex_image: (N,). triangles: (T, 3). image,
    material: (T,). materials: (M, 11). first_texel: (M,) in the bank's texels, -1 for none.
    first_row: (B,) of the heads' materials. head_triangles: how many of them are the heads'.
    eye_axis: (B, 2, 3) gaze. up_px: (B, 2). center: (B, 3) of the skull.
    """

    position: Tensor
    direction: Tensor
    uv: Tensor
    occlusion: Tensor
    half_width: Tensor
    shadow_width: Tensor
    vertex_image: Tensor
    triangles: Tensor
    image: Tensor
    material: Tensor
    materials: Tensor
    first_texel: Tensor
    first_row: Tensor
    head_triangles: int
    eye_axis: Tensor
    up_px: Tensor
    center: Tensor

    def widened(self, seen: Tensor, along: Tensor, width_px: Tensor) -> Tensor:
        """Projected vertices (N, 3) with ribbons' corners moved aside.

        along: (N, 2) projected tangents. width_px: (N,) signed.
        """
        aside = normalize(torch.stack([-along[:, 1], along[:, 0]], dim=1), dim=1)
        least = width_px.sign() * width_px.abs().clamp(min=_LEAST_HALF_WIDTH_PX)
        moved = seen[:, :2] + aside * torch.where(width_px == 0, 0.0, least)[:, None]
        return torch.cat([moved, seen[:, 2:]], dim=1)

    def pixels(self, views: Views) -> Tensor:
        """(N, 3): x px, y px, z metres."""
        seen = views.project(self.position, self.vertex_image)
        z = seen[:, 2:].clamp(min=1e-6)
        # d(x / z) along the tangent, up to a positive factor.
        along = self.direction[:, :2] - self.position[:, :2] / z * self.direction[:, 2:]
        scale = views.focal_px[self.vertex_image] / z[:, 0]
        return self.widened(seen, along, self.half_width * scale)


@dataclass(frozen=True)
class _Loose:
    """Hair, clothes and things of a batch as one mesh. floats: (n, 11). frame, owner: (n,), owner
    is the image. triangles: (f, 3) rows of the drawing's vertices. image, material: (f,).
    materials: (M, 11), first_texel: (M,). first_row: (assets,) of each asset's materials."""

    floats: Tensor
    frame: Tensor
    owner: Tensor
    triangles: Tensor
    image: Tensor
    material: Tensor
    materials: Tensor
    first_texel: Tensor
    first_row: Tensor


def _loose(
    people: list[DeviceAsset], things: list[DeviceAsset | None], first_vertex: int,
    device: torch.device,
) -> _Loose:  # fmt: skip
    """first_vertex: how many vertices stand before the loose ones in the drawing."""
    pairs = [*enumerate(people), *((k, thing) for k, thing in enumerate(things) if thing)]
    assets = [asset for _, asset in pairs]

    def counts(lengths: list[int]) -> tuple[Tensor, Tensor]:
        count = torch.tensor(lengths, device=device)
        return count, count.cumsum(0) - count

    image = torch.tensor([k for k, _ in pairs], device=device)
    base = torch.tensor([asset.first_texel for asset in assets], device=device)
    vertices, first = counts([len(asset.floats) for asset in assets])
    faces, _ = counts([len(asset.triangles) for asset in assets])
    rows, first_row = counts([len(asset.materials) for asset in assets])
    materials = torch.cat([asset.materials for asset in assets])
    texel = materials[:, TEXTURE].long()
    start = (first_vertex + first).repeat_interleave(faces)
    return _Loose(
        floats=torch.cat([asset.floats for asset in assets]),
        frame=torch.cat([asset.frame for asset in assets]),
        owner=image.repeat_interleave(vertices),
        triangles=torch.cat([asset.triangles for asset in assets]) + start[:, None],
        image=image.repeat_interleave(faces),
        material=torch.cat([asset.material for asset in assets])
        + first_row.repeat_interleave(faces),
        materials=materials,
        first_texel=torch.where(texel < 0, -1, texel + base.repeat_interleave(rows)),
        first_row=first_row,
    )


class Stage:
    """Tables of a head on a device, and the drawing of a batch."""

    def __init__(self, model: HeadModel, device: torch.device) -> None:
        tables = head_tables(model)

        def put(array: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.from_numpy(np.array(array)).to(device, dtype)

        self.triangles = put(tables.triangles, torch.int64)
        self.corners, self.split = put(tables.corners, torch.int64), put(tables.split, torch.int64)
        self.uv, self.material = put(tables.uv), put(tables.material, torch.int64)
        self.occlusion, self.scalp = put(tables.occlusion), put(tables.scalp)
        self.inner = put(tables.inner, torch.int64)
        lips = tables.mouth_points
        self.lip_corners = put(model.triangles[lips.triangle], torch.int64)
        self.lip_weights = put(lips.barycentric)

    def draw(
        self, posed: Posed, people: list[DeviceAsset], things: list[DeviceAsset | None],
        thing_pose: tuple[Tensor, Tensor],
    ) -> Drawing:  # fmt: skip
        """The drawing of B posed heads.

        things: what is before each face, or None. thing_pose: rotations (B, 3, 3) and places
        (B, 3) of these.
        """
        batch, device = len(people), posed.vertices.device
        split, faces = len(self.split), len(self.corners)
        image = torch.arange(batch, device=device)
        loose = _loose(people, things, batch * split, device)
        position, direction = self._ride(loose, posed, thing_pose)
        normals, light = head_normals_and_light(self, posed, people)
        vertices = posed.vertices[:, self.split].reshape(-1, 3)
        heads = (self.corners + (image * split)[:, None, None]).reshape(-1, 3)
        zero = torch.zeros(batch * split, device=device)
        neck = posed.linear[:, _NECK]
        skulls = torch.stack([a.skull_center for a in people])
        material = (self.material + loose.first_row[:batch, None]).reshape(-1)
        return Drawing(
            position=torch.cat([vertices, position]),
            direction=torch.cat([normals, direction]),
            uv=torch.cat([self.uv.repeat(batch, 1), loose.floats[:, 6:8]]),
            occlusion=torch.cat([light, loose.floats[:, 8]]),
            half_width=torch.cat([zero, loose.floats[:, 9]]),
            shadow_width=torch.cat([zero, loose.floats[:, 10]]),
            vertex_image=torch.cat([image.repeat_interleave(split), loose.owner]),
            triangles=torch.cat([heads, loose.triangles]),
            image=torch.cat([image.repeat_interleave(faces), loose.image]),
            material=torch.cat([material, loose.material]),
            materials=loose.materials,
            first_texel=loose.first_texel,
            first_row=loose.first_row[:batch],
            head_triangles=len(heads),
            eye_axis=posed.linear[:, 3:5, :, 2],
            up_px=normalize(neck[:, :2, 1], dim=1),
            center=(neck @ skulls[..., None])[..., 0] + posed.shift[:, _NECK],
        )

    def _ride(
        self, loose: _Loose, posed: Posed, thing_pose: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Positions and directions (n, 3) of loose vertices in the rig frame."""
        floats, frame, owner = loose.floats, loose.frame, loose.owner
        linear = torch.stack([posed.linear[:, 0], posed.linear[:, _NECK], thing_pose[0]], dim=1)
        shift = torch.stack([posed.shift[:, 0], posed.shift[:, _NECK], thing_pose[1]], dim=1)
        rigid = frame.clamp(max=SCENE)
        axes, origin = linear[owner, rigid], shift[owner, rigid]
        on_skin = torch.nonzero(frame >= FIRST_TRIANGLE).flatten()
        if len(on_skin):
            triangles = self.triangles[frame[on_skin] - FIRST_TRIANGLE]
            centre, skin_axes = triangle_frames(posed.vertices, triangles, owner[on_skin])
            axes[on_skin], origin[on_skin] = skin_axes, centre
        position = (axes @ floats[:, :3, None])[..., 0] + origin
        return position, (axes @ floats[:, 3:6, None])[..., 0]


def head_normals_and_light(
    stage: Stage, posed: Posed, people: list[DeviceAsset]
) -> tuple[Tensor, Tensor]:
    """Normals (B * n, 3) and share of ambient light (B * n,) of the heads' split vertices."""
    batch = len(people)
    normals = mesh_normals(posed.vertices, stage.triangles)
    shade = torch.tensor([a.scalp_shade for a in people], device=normals.device)
    occlusion = stage.occlusion.repeat(batch, 1)
    occlusion[:, stage.inner] = _mouth_light(stage, posed)
    occlusion = occlusion * (1 - (1 - shade)[:, None] * stage.scalp)
    return normals[:, stage.split].reshape(-1, 3), occlusion[:, stage.split].reshape(-1)


def _mouth_light(stage: Stage, posed: Posed) -> Tensor:
    """(B, n) share of light that reaches the inner mouth, as in `synth.person.assembly`."""
    lips = posed.vertices[:, stage.lip_corners] * stage.lip_weights[..., None]
    lips = lips.sum(dim=2)
    forward = posed.linear[:, _NECK, :, 2]
    offset = lips.mean(dim=1, keepdim=True) - posed.vertices[:, stage.inner]
    behind = (offset * forward[:, None]).sum(dim=2)
    gap = (lips[:, 0] - lips[:, 1]).norm(dim=1, keepdim=True)
    reach = _MOUTH_DEPTH_M * (0.6 + gap / 0.02)
    light = torch.exp(-(behind + 0.004).clamp(min=0) / reach) * (
        0.55 + (gap / 0.03).clamp(max=0.45)
    )
    return light.clamp(0.02, 1)


def opaque_triangles(drawing: Drawing) -> Tensor:
    """Rows (n,) of the triangles that let no light through."""
    passes = drawing.materials[drawing.material, PASSES] > 0
    return torch.nonzero(~passes).flatten()
