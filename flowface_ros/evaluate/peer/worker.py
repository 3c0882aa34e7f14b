"""Runs MediaPipe's Face Landmarker, in a Python of its own that needs nothing else of this package.

usage: worker.py MODEL image|video FACES, then on standard input for every picture a line of JSON
(`shape`: [height, width, 3], `ms`: its time, `repeats`: how often) and its RGB bytes. The first
line of the answer holds the `triangles` of its mesh; then each picture is answered with `faces`,
(478, 3) each in pixels with depth in the same scale, and `ms`: of each call the milliseconds by the
clock and of processor time.
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
    model, mode, faces = sys.argv[1:]
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=model),
        running_mode=vision.RunningMode.VIDEO if mode == "video" else vision.RunningMode.IMAGE,
        num_faces=int(faces),
    )
    landmarker = vision.FaceLandmarker.create_from_options(options)
    edges = vision.FaceLandmarksConnections.FACE_LANDMARKS_TESSELATION
    # Three edges in a row go around one triangle.
    triangles = [[edge.start for edge in edges[i : i + 3]] for i in range(0, len(edges), 3)]
    print(json.dumps({"triangles": triangles}), flush=True)
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        height, width, channels = request["shape"]
        content = sys.stdin.buffer.read(height * width * channels)
        pixels = np.frombuffer(content, np.uint8).reshape(height, width, channels)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels.copy())
        times_ms = []
        for _ in range(request["repeats"]):
            start, start_cpu = time.perf_counter(), time.process_time()
            if mode == "video":
                result = landmarker.detect_for_video(image, request["ms"])
            else:
                result = landmarker.detect(image)
            end, end_cpu = time.perf_counter(), time.process_time()
            times_ms.append(((end - start) * 1e3, (end_cpu - start_cpu) * 1e3))
        # The centre of the first pixel is (0, 0) here, (0.5, 0.5) there.
        found = [
            [(p.x * width - 0.5, p.y * height - 0.5, p.z * width) for p in face]
            for face in result.face_landmarks
        ]
        print(json.dumps({"faces": found, "ms": times_ms}), flush=True)


if __name__ == "__main__":
    main()
