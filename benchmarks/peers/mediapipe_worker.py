"""Times MediaPipe's Face Landmarker for `align.py`, in an environment of its own.

usage: mediapipe_worker.py MODEL, then on standard input lines `PICTURE.npy REPEATS`. Answers each
with a JSON object: `ms`, of each call the milliseconds by the clock and of processor time, and
`faces`, how many it found.
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
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=sys.argv[1]),
        running_mode=vision.RunningMode.IMAGE,
        num_faces=1,
    )
    landmarker = vision.FaceLandmarker.create_from_options(options)
    for line in sys.stdin:
        path, repeats = line.rsplit(maxsplit=1)
        pixels = np.load(path)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        times_ms = []
        for _ in range(int(repeats)):
            start, start_cpu = time.perf_counter(), time.process_time()
            result = landmarker.detect(image)
            end, end_cpu = time.perf_counter(), time.process_time()
            times_ms.append(((end - start) * 1e3, (end_cpu - start_cpu) * 1e3))
        print(json.dumps({"ms": times_ms, "faces": len(result.face_landmarks)}), flush=True)


if __name__ == "__main__":
    main()
