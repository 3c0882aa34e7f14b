"""What is known of a person's shape before any fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.observation import Observation
from flowface_ros.align.onnx_session import WEIGHTS_FOLDER
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.priors import ShapeBelief, unit_shape_belief
from flowface_ros.fit.shape_prior_features import ShapeFeatures
from flowface_ros.fit.views import check_observations
from flowface_ros.head.model import HeadModel

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

PRIORS = ("none", "network")
NETWORK_FILE = WEIGHTS_FOLDER / "shape_prior.onnx"
_ANSWERS = ["shape", "covariance", "between", "within", "spread"]
"""Outputs of that file: shape (N, S) of each view, and, by coefficient, what adds views up (S,)."""


class ShapePrior(Protocol):
    """What views of one moment tell of a stranger's shape besides what the fit makes of them."""

    def belief(self, observations: Sequence[Observation], rig: Rig) -> ShapeBelief:
        """observations: of one person, by cameras of the rig. Of none, what holds for anybody."""


class UnitShapePrior:
    """`none`: nothing but the head's own distribution."""

    def __init__(self, model: HeadModel) -> None:
        self._belief = unit_shape_belief(model)

    def belief(self, observations: Sequence[Observation], rig: Rig) -> ShapeBelief:
        return self._belief


class NetworkShapePrior:
    """`network`: a regression from the proportions that each view shows (`ShapeFeatures`), an ONNX
    file that `tools/learn_shape_prior.py` makes.

    Views of a person share most of their error. The file says how much of an answer's variance is
    between people and how much within one, so N views are worth what they were worth in training,
    and one view is worth little. What they tell is put on top of the head's own distribution, which
    is wider than that of the people learned from: real ones may be further from the mean.
    """

    def __init__(self, model: HeadModel, path: Path = NETWORK_FILE) -> None:
        """ValueError when the file is of another head, or not such a network."""
        self._model, self._features = model, ShapeFeatures(model)
        self._session = _open_network(path, "features", _ANSWERS)
        made = self._session.get_modelmeta().custom_metadata_map.get("flowface.model_hash", "")
        if made != f"{model.model_hash:016x}":
            raise ValueError(
                f"{path}: is of the head {made or 'of no name'}, not of {model.name!r} "
                f"{model.model_hash:016x}; use the shape prior 'none'"
            )

    def belief(self, observations: Sequence[Observation], rig: Rig) -> ShapeBelief:
        """As `ShapePrior`. ValueError as `check_observations`."""
        check_observations(observations, rig)
        found = [self._features.of(o, rig[o.camera]) for o in observations]
        features = [f for f in found if f is not None]
        if not features:
            return unit_shape_belief(self._model)
        answers = self._session.run(_ANSWERS, {"features": np.stack(features)})
        shape, covariance, between, within, spread = (np.asarray(a, np.float64) for a in answers)
        gain = covariance / (between + within / len(shape))
        variance = spread - gain * covariance
        # What the views add to knowing that somebody is one of those learned from.
        information = 1 + (1 / variance - 1 / spread)
        mean = gain * shape.mean(axis=0) / variance / information
        return ShapeBelief(mean, np.diag(information), np.diag(1 / information))


def make_shape_prior(name: str, model: HeadModel) -> ShapePrior:
    """The prior of a name out of `PRIORS`. ValueError for another name or an unsuitable head."""
    if name not in PRIORS:
        raise ValueError(f"shape_prior is {name!r}, allowed are {', '.join(map(repr, PRIORS))}")
    return UnitShapePrior(model) if name == "none" else NetworkShapePrior(model)


def _combined(means: Array, sigmas: Array) -> ShapeBelief:
    """Of several crops: their errors repeat, so the mean is as uncertain as a single one."""
    variance = (sigmas**2).mean(axis=0)
    return ShapeBelief(means.mean(axis=0), np.diag(1 / variance), np.diag(variance))


def _check_face(face: Image, size: tuple[int, ...]) -> Image:
    if face.shape != (*size, 3) or face.dtype != np.uint8:
        raise ValueError(f"face is {face.shape} {face.dtype}, must be {(*size, 3)} uint8")
    return face


class MicaShapePrior:
    """`mica`: the user's MICA network, converted once to ONNX; its coefficients are FLAME's.

    MICA (Zielonka et al., Towards Metrical Reconstruction of Human Faces, ECCV 2022) gives no
    uncertainty: `sigma` standard deviations are taken for every coefficient.
    """

    def __init__(self, model: HeadModel, path: Path, sigma: float = 0.5) -> None:
        """ValueError when the head's shape basis is not FLAME's, the file is not MICA, or sigma is
        not above zero."""
        if model.shape_count < 1 or "flame" not in model.name.lower():
            raise ValueError(f"head {model.name!r}: MICA's coefficients need a FLAME head")
        if not sigma > 0:
            raise ValueError(f"sigma is {sigma}, must be > 0")
        self._model, self._sigma = model, sigma
        self._session = _open_network(path, "face", ["shape"])

    def belief(self, faces: Sequence[Image]) -> ShapeBelief:
        """faces: (112, 112, 3), aligned as ArcFace aligns them (`align_for_arcface`)."""
        if not faces:
            return unit_shape_belief(self._model)
        images = np.stack([_check_face(face, (112, 112)) for face in faces])
        batch = (images.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5
        (shape,) = self._session.run(["shape"], {"face": batch})
        count = min(shape.shape[1], self._model.shape_count)
        mean = np.zeros((len(faces), self._model.shape_count))
        sigma = np.ones_like(mean)
        mean[:, :count], sigma[:, :count] = shape[:, :count], self._sigma
        return _combined(mean, sigma)


_ARCFACE_POINTS = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""Where ArcFace's 112 x 112 crop has the eyes (the image's left first), nose and mouth corners."""


def align_for_arcface(image: Image, points: Array) -> Image:
    """The crop (112, 112, 3) of an image (H, W, 3) RGB for five points (5, 2), pixels: eye centres
    (the image's left first), tip of the nose, corners of the mouth."""
    import cv2

    if np.shape(points) != (5, 2) or not np.isfinite(points).all():
        raise ValueError(f"points must be 5 finite places, have shape {np.shape(points)}")
    source = np.asarray(points, np.float64)
    a, b = source - source.mean(axis=0), _ARCFACE_POINTS - _ARCFACE_POINTS.mean(axis=0)
    # Least-squares similarity as one complex factor: b = factor * a
    a_c, b_c = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    factor = np.vdot(a_c, b_c) / np.vdot(a_c, a_c)
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    shift = _ARCFACE_POINTS.mean(axis=0) - linear @ source.mean(axis=0)
    return cv2.warpAffine(image, np.column_stack([linear, shift]), (112, 112))


def _open_network(path: Path, given: str, made: list[str]) -> Any:
    """The network of a file with the one input `given` and the outputs `made`."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(f"{path}: not a network that ONNX Runtime can open: {error}") from error
    inputs, outputs = ([v.name for v in f()] for f in (session.get_inputs, session.get_outputs))
    if inputs != [given] or outputs != made:
        raise ValueError(
            f"{path}: a network from {inputs} to {outputs}, must be from {[given]} to {made}"
        )
    return session
