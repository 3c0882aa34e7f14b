"""The motion of a mesh against the optical flow of the video that it was found in."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera.camera import Camera
from flowface_ros.evaluate.moving_mesh import MovingMesh
from flowface_ros.evaluate.shared_pixels import ProjectedMeshes, carried


def flow_error_px(
    images: Sequence[NDArray[np.uint8]],
    cameras: Sequence[Camera],
    mesh: MovingMesh,
    judged: Sequence[NDArray[np.bool_]],
    horizon: int,
) -> float:
    """Mean distance, pixels, of where a mesh carries its pixels in `horizon` frames and where the
    optical flow does (DIS, Kroeger et al. 2016, which has errors of its own).

    judged: masks (H, W) of the pixels that count.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    views = ProjectedMeshes(mesh, mesh, cameras)
    total, count = 0.0, 0
    for t in range(len(images) - horizon):
        later = views.at(t + horizon).truth
        if later is None or mesh.vertices[t] is None:
            continue
        flow = dis.calc(grey[t], grey[t + horizon], None)
        under = views.shared_pixels(t, judged[t]).truth
        moved = carried(under.corners, under.weights, later) - under.place
        x, y = under.place.round().astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < flow.shape[1]) & (y < flow.shape[0])
        distance = np.linalg.norm(moved[inside] - flow[y[inside], x[inside]], axis=1)
        distance = distance[np.isfinite(distance)]
        total, count = total + float(distance.sum()), count + len(distance)
    return total / count if count else float("nan")
