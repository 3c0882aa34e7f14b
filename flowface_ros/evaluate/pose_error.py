"""Errors of the face's frame: position, rotation, and whether its covariance is honest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flowface_ros.evaluate.tracking import Face

Array = NDArray[np.float64]


def pose_difference(truth: Face, prediction: Face) -> Array:
    """(6,) position (m), then the rotation vector d (rad) with R_predicted = exp(d) @ R_true."""
    turn = prediction.rig_from_face[:3, :3] @ truth.rig_from_face[:3, :3].T
    rotation = Rotation.from_matrix(turn).as_rotvec()
    return np.concatenate([prediction.position - truth.position, rotation])


def position_error_mm(truth: Face, prediction: Face) -> float:
    """Distance between the origins of the two frames."""
    return 1e3 * float(np.linalg.norm(pose_difference(truth, prediction)[:3]))


def rotation_error_deg(truth: Face, prediction: Face) -> float:
    """Angle between the two frames."""
    return float(np.degrees(np.linalg.norm(pose_difference(truth, prediction)[3:])))


def pose_nees(truth: Face, prediction: Face) -> float:
    """e^T C^-1 e of the pose, chi-square of 6 when the covariance C is honest.

    NaN when the prediction has no covariance, or one that is not positive definite.
    """
    covariance = prediction.pose_covariance
    if covariance is None or not np.isfinite(covariance).all():
        return float("nan")
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return float("nan")
    whitened = np.linalg.solve(factor, pose_difference(truth, prediction))
    return float(whitened @ whitened)
