"""Runs MediaPipe's Face Landmarker on pictures for `peers.py`, in an environment of its own.

usage: mediapipe_landmarks.py MODEL image|video, then on standard input lines
`PICTURE.npy MILLISECONDS`. The first line of the answer holds the `triangles` of its mesh; then
each line is answered with `points`, (478, 3) in pixels with depth in the same scale or null without
a face, and `ms`, what the call took.
"""

from __future__ import annotations

import json
import sys
import time

import mediapipe
import numpy as np
from mediapipe.tasks.python import vision
from mediapipe.tasks.python.core.base_options import BaseOptions


def main() -> None:
    video = sys.argv[2] == "video"
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=sys.argv[1]),
        running_mode=vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE,
        num_faces=1,
    )
    landmarker = vision.FaceLandmarker.create_from_options(options)
    edges = vision.FaceLandmarksConnections.FACE_LANDMARKS_TESSELATION
    # Three edges in a row go around one triangle.
    triangles = [[edge.start for edge in edges[i : i + 3]] for i in range(0, len(edges), 3)]
    print(json.dumps({"triangles": triangles}), flush=True)
    for line in sys.stdin:
        path, milliseconds = line.rsplit(maxsplit=1)
        pixels = np.load(path)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        start = time.perf_counter()
        if video:
            result = landmarker.detect_for_video(image, int(milliseconds))
        else:
            result = landmarker.detect(image)
        ms = (time.perf_counter() - start) * 1e3
        points = None
        if result.face_landmarks:
            height, width = pixels.shape[:2]
            # The centre of the first pixel is (0, 0) here, (0.5, 0.5) there.
            points = [
                [p.x * width - 0.5, p.y * height - 0.5, p.z * width]
                for p in result.face_landmarks[0]
            ]
        print(json.dumps({"points": points, "ms": ms}), flush=True)


if __name__ == "__main__":
    main()
