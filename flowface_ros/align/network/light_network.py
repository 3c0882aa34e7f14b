"""The light network: the landmark net's 478 points carried to all texels, then corrected twice.

What corrects them is a small perceptron on what feature maps show around the flow so far, sampled
at places of the face, so it sees a face whose pose is taken out. It is the same one each time. The
finest map is the landmark net's; the coarser ones come from copies of its stages that were trained
with the perceptron, while the landmark net itself, and so the first flow, stays as it is. The same
features say how large the error is, and that decides how much of the correction is believed: on a
face that the landmark net has found well it is a half, where the net has failed it is all.

Shapes: B crops, Q texels and I = 10 iris points (together N), T places of a level, K modes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowface_ros.align.crop import FACE_MARGIN
from flowface_ros.align.landmark_errors import FACE_HEIGHT_M
from flowface_ros.align.network.config import NetworkConfig
from flowface_ros.align.network.constants import IRIS_COUNT, LANDMARK_COUNT, AtlasConstants
from flowface_ros.align.network.flow_output import FlowOutput
from flowface_ros.align.network.light_trunk import LandmarkTrunk, make_stage

LEVEL_STRIDES = (4, 8, 16)
LEVEL_CHANNELS = (12, 20, 32)
"""Of each level, projected before it is sampled."""
OWN_STAGES = (2, 3)
"""Of the trunk, by index, those that the correction has its own copies of."""
HIDDEN = 256
DISPLACEMENT_MODES, SIGMA_MODES = 96, 32
CLUES = 8
"""Numbers of a face besides its features, see `face_clues`."""
_FEATURE_RANGE = 3.0
"""Standard deviations that a feature counts at most: what covers a face is like nothing seen."""

BELIEF_FLOOR, BELIEF_CEILING = 0.5, 1.0
BELIEF_MIDDLE_M, BELIEF_SLOPE = 0.004, 8.0
"""Share of the correction that is believed, by the face's own error. On synthetic faces all of it
is best, but photographs that the landmark net has found well are then moved by 2 %."""
_LEAST_SCALE = 200.0
"""Crop pixels per metre; points that have collapsed to less are no face."""


class FaceFrame:
    """How the head lies in the crop, from its landmarks: the view of the mean head that fits best.

    scale: (B,) crop pixels per metre. crop_px_per_m: (B, 2, 2), from the axes of an upright crop.
    toward_camera: (B, 3) in the head's frame, about of unit length. turn: (B, 6), 1 and its
    second-order polynomials.
    """

    def __init__(self, points: Tensor, pose_solve: Tensor) -> None:
        """points: (B, 478, 2) crop pixels. pose_solve: (3, 478), see AtlasConstants."""
        axes = torch.matmul(pose_solve, points)
        self.scale = torch.sqrt(0.5 * axes.square().sum(dim=(1, 2))).clamp(min=_LEAST_SCALE)
        up = axes[:, 1] / axes[:, 1].square().sum(dim=1, keepdim=True).clamp(min=1e-6).sqrt()
        rows = torch.stack([-up[:, 1], -up[:, 0], up[:, 0], -up[:, 1]], dim=1)
        self.crop_px_per_m = rows.reshape(-1, 2, 2) * self.scale[:, None, None]
        head = axes / self.scale[:, None, None]
        a, b = head[:, :, 1], head[:, :, 0]
        x = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
        y = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
        z = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
        self.toward_camera = torch.stack([x, y, z], dim=1)
        self.turn = torch.stack([torch.ones_like(x), x, y, x * x, y * y, x * y], dim=1)


class Head(nn.Module):
    """Perceptron with two hidden layers, whose answers are few modes of all points; untrained, it
    answers nothing."""

    def __init__(self, inputs: int, answers: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.displacement = Modes(DISPLACEMENT_MODES, 2 * answers)
        self.log_sigma = Modes(SIGMA_MODES, answers)

    def forward(self, clues: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs) -> (B, N, 2) displacement in mm of an upright crop, (B, N) what is added to
        the first log sigma."""
        first = functional.relu(self.first(clues))
        hidden = torch.cat([first, functional.relu(self.second(first))], dim=1)
        log_sigma = self.log_sigma(hidden)
        return self.displacement(hidden).reshape(*log_sigma.shape, 2), log_sigma


class Modes(nn.Module):
    """Linear map by way of few numbers."""

    def __init__(self, count: int, outputs: int) -> None:
        super().__init__()
        self.code = nn.Linear(2 * HIDDEN, count)
        self.basis = nn.Parameter(torch.zeros(count, outputs))
        self.constant = nn.Parameter(torch.zeros(outputs))

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, 2 HIDDEN) -> (B, outputs)."""
        return torch.matmul(self.code(hidden), self.basis) + self.constant


class LightNetwork(nn.Module):
    """See the module's docstring."""

    answered: Tensor
    first_log_sigma: Tensor
    iris_log_sigma: Tensor
    landmark_matrix: Tensor
    correction: Tensor
    pose_solve: Tensor
    skin_share: Tensor
    feature_mean: Tensor
    feature_scale: Tensor
    log_factor: Tensor

    def __init__(self, config: NetworkConfig, atlas: AtlasConstants) -> None:
        """Raises ValueError where the constants do not fit the configuration."""
        super().__init__()
        atlas.check(config)
        constants = atlas.landmarks
        assert constants is not None
        self.config = config
        self.atlas_hash = atlas.atlas_hash
        self.landmark_offset_px = atlas.landmark_offset_px
        self.encoder = LandmarkTrunk()
        self.own_stages = nn.ModuleList(make_stage(index) for index in OWN_STAGES)
        count = len(atlas.log_sigma)
        self.register_buffer("answered", torch.from_numpy(atlas.output_valid.ravel().nonzero()[0]))
        self.register_buffer("first_log_sigma", torch.from_numpy(atlas.log_sigma.copy()))
        for name in ("iris_log_sigma", "correction", "pose_solve", "skin_share"):
            self.register_buffer(name, torch.from_numpy(getattr(constants, name).copy()))
        self.register_buffer("landmark_matrix", torch.from_numpy(constants.matrix.copy()))
        for stride, rows in zip(LEVEL_STRIDES, constants.sampled, strict=True):
            self.register_buffer(f"sampled_{stride}", torch.from_numpy(rows.copy()))
        self.project = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1, bias=False)
            for inputs, outputs in zip(self.encoder.channels, LEVEL_CHANNELS, strict=False)
        )
        sizes = [len(r) * c for r, c in zip(constants.sampled, LEVEL_CHANNELS, strict=True)]
        self.register_buffer("feature_mean", torch.zeros(sum(sizes)))
        self.register_buffer("feature_scale", torch.ones(sum(sizes)))
        answers = count + IRIS_COUNT
        self.register_buffer("log_factor", torch.zeros(answers))
        self.head = Head(sum(sizes) + CLUES, answers)

    def first_flow(self, points: Tensor, frame: FaceFrame) -> Tensor:
        """(B, 478, 2) crop pixels -> (B, N, 2): what the aligner `landmarks` says."""
        skin = torch.matmul(self.landmark_matrix, points)
        first = torch.cat([skin, points[:, LANDMARK_COUNT - IRIS_COUNT :]], dim=1)
        upright = torch.matmul(frame.turn, self.correction).reshape(first.shape)
        return first + to_crop(upright, frame.crop_px_per_m)

    def own_levels(self, finest: Tensor) -> tuple[Tensor, ...]:
        """The trunk's map at stride 4 -> maps at `LEVEL_STRIDES`."""
        levels = [finest]
        for stage in self.own_stages:
            levels.append(stage(levels[-1]))
        return tuple(levels)

    def projected(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Maps at `LEVEL_STRIDES` with few channels, `LEVEL_CHANNELS`."""
        return [project(level) for project, level in zip(self.project, levels, strict=True)]

    def features(self, projected: Sequence[Tensor], position: Tensor) -> Tensor:
        """Projected maps and positions (B, N, 2), crop pixels -> (B, D)."""
        at = (position + 0.5) * (2.0 / self.config.crop_px) - 1.0
        parts = []
        for stride, level in zip(LEVEL_STRIDES, projected, strict=True):
            rows = getattr(self, f"sampled_{stride}")
            sampled = functional.grid_sample(level, at[:, None, rows], align_corners=False)
            parts.append(sampled[:, :, 0].transpose(1, 2).flatten(1))
        return torch.cat(parts, dim=1)

    def standardised(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        scaled = (features - self.feature_mean) * self.feature_scale
        return scaled.clamp(-_FEATURE_RANGE, _FEATURE_RANGE)

    def log_sigma_constant(self) -> Tensor:
        """(N,) first log sigma, of metres."""
        of_all = torch.cat([self.first_log_sigma, self.iris_log_sigma])
        return of_all - math.log(reference_scale(self.config))

    def forward(self, image: Tensor, every_iteration: bool = True) -> FlowOutput:
        """As `FlowNetwork.forward`."""
        encoded = self.encoder(image)
        assert encoded.landmarks is not None and encoded.presence is not None
        points = encoded.landmarks[..., :2].float() + self.landmark_offset_px
        frame = FaceFrame(points, self.pose_solve)
        first = self.first_flow(points, frame)
        levels = self.own_levels(encoded.levels[0])
        constant, log_scale = self.log_sigma_constant(), torch.log(frame.scale)
        clues = face_clues(frame, encoded.presence, self.config)
        low, high = math.log(self.config.min_sigma_px), math.log(self.config.max_sigma_px)
        answers = [(first, (constant + log_scale[:, None]).clamp(low, high))]
        for said in self.corrections(levels, first.detach(), frame.crop_px_per_m, clues):
            upright_m, log_sigma_m = self.believed(*said)
            position = first + to_crop(upright_m, frame.crop_px_per_m)
            answers.append((position, (log_sigma_m + log_scale[:, None]).clamp(low, high)))
        position, log_sigma = answers[-1]
        if not every_iteration:
            answers = answers[-1:]
        count = len(self.first_log_sigma)
        return FlowOutput(
            [p[:, :count] for p, _ in answers],
            [s[:, :count] for _, s in answers],
            None,
            encoded.landmarks,
            encoded.presence,
            (position[:, count:], log_sigma[:, count:]),
        )

    def corrections(
        self, levels: Sequence[Tensor], first: Tensor, crop_px_per_m: Tensor, clues: Tensor,
        dropout: float = 0.0,
    ) -> list[tuple[Tensor, Tensor]]:  # fmt: skip
        """After each look: from the first flow to the corrected one (B, N, 2), mm, axes of an
        upright crop, and what is added to the constant log sigma (B, N).

        levels: maps at `LEVEL_STRIDES`. first: (B, N, 2). crop_px_per_m: (B, 2, 2), see
        `FaceFrame`. clues: (B, CLUES). dropout: share of the features that is left out. A later
        look's gradient does not reach the displacements before it.
        """
        answers: list[tuple[Tensor, Tensor]] = []
        projected = self.projected(levels)
        for _ in range(self.config.iterations):
            before = answers[-1][0].detach() if answers else torch.zeros_like(first)
            position = first + to_crop(1e-3 * before, crop_px_per_m)
            features = self.standardised(self.features(projected, position))
            features = functional.dropout(features, dropout, training=dropout > 0)
            said_mm, change = self.head(torch.cat([features, clues], dim=1))
            answers.append((before + said_mm, change))
        return answers

    def believed(self, said_mm: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
        """An answer of `corrections` -> what is added to the first flow (B, N, 2), metres, axes of
        an upright crop, and log sigma (B, N), of metres."""
        log_sigma_m = self.log_sigma_constant() + change
        share = self.belief(log_sigma_m)[:, None, None]
        return 1e-3 * said_mm * share, log_sigma_m + self.log_factor

    def belief(self, log_sigma_m: Tensor) -> Tensor:
        """(B, N) -> (B,): the share of the correction that is made."""
        variance = torch.exp(2 * log_sigma_m[:, : len(self.skin_share)].detach())
        log_error = 0.5 * torch.log(torch.matmul(variance, self.skin_share))
        share = torch.sigmoid(BELIEF_SLOPE * (log_error - math.log(BELIEF_MIDDLE_M)))
        return BELIEF_FLOOR + (BELIEF_CEILING - BELIEF_FLOOR) * share

    def add_log_sigma(self, change: Tensor) -> None:
        """Add a constant (Q,) to what is said of the texels; how much of the correction is
        believed stays as it was."""
        self.log_factor[: len(change)] += change.to(self.log_factor.device)

    def bake(self) -> LightNetwork:
        """As `FlowNetwork.bake`: there is nothing to bake."""
        return self.eval()

    def blank_bake(self) -> LightNetwork:
        """As `FlowNetwork.blank_bake`."""
        return self.eval()


def to_crop(upright_m: Tensor, crop_px_per_m: Tensor) -> Tensor:
    """(B, N, 2) metres, axes of an upright crop, and (B, 2, 2) -> crop pixels."""
    return torch.matmul(upright_m, crop_px_per_m.transpose(1, 2))


def face_clues(frame: FaceFrame, presence: Tensor, config: NetworkConfig) -> Tensor:
    """(B, 8): the turn without its constant, how far sideways, presence, size."""
    size = torch.log(frame.scale) - math.log(reference_scale(config))
    others = [frame.turn[:, 1].abs(), presence.clamp(-10, 15) / 5, size]
    return torch.cat([frame.turn[:, 1:], torch.stack(others, dim=1)], dim=1)


def reference_scale(config: NetworkConfig) -> float:
    """Crop pixels per metre of a face in its ideal crop."""
    return config.crop_px / (FACE_MARGIN * FACE_HEIGHT_M)
