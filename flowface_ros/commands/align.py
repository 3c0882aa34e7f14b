"""`flowface align`: dense points with their sigma on pictures and videos."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cv2
    import numpy as np
    from numpy.typing import NDArray

    from flowface_ros.align.aligner import Aligner
    from flowface_ros.align.landmark_net import FaceFinder

NAME = "align"
HELP = "Draws where every point of a head is in pictures or videos, and how sure that is."

_VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_SHEET_TILES, _SHEET_COLUMNS, _SHEET_WIDTH_PX = 12, 4, 480
_DEFAULT_FPS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", type=Path, metavar="PICTURE", help="pictures, videos")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="picture (.png, .jpg; a contact sheet of several inputs) or video (.mp4) to write",
    )
    parser.add_argument("--aligner", default="network", help="network (default) or landmarks")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="ONNX file of --aligner network (default: the one that ships)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:N or tensorrt:N")
    parser.add_argument(
        "--grid", type=int, default=48, help="texels a side of --aligner landmarks (default: 48)"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument(
        "--looks",
        type=int,
        default=8,
        metavar="N",
        help="crops of each face that the aligner takes the mean of: 1, 2, 4 or 8 (default)",
    )
    parser.add_argument("--max-faces", type=int, metavar="N", help="draw at most N faces")
    parser.epilog = "The exit status is 1 when no face is found in any picture."


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from flowface_ros.commands.eyes import make_eyes
    from flowface_ros.head.model_file import load_builtin_head

    if args.out.suffix.lower() not in (*_PICTURE_SUFFIXES, ".mp4"):
        allowed = ", ".join((*_PICTURE_SUFFIXES, ".mp4"))
        raise ValueError(f"--out is {args.out}, its suffix must be one of {allowed}")
    if args.out.resolve() in [path.resolve() for path in args.inputs]:
        raise ValueError(f"--out is {args.out}, which is an input; it would be overwritten")
    inputs = [_Input(path) for path in args.inputs]
    aligner, finder = make_eyes(
        load_builtin_head(),
        args.aligner,
        device=args.device,
        threads=args.threads,
        grid=args.grid,
        weights=args.weights,
        looks=args.looks,
    )
    finder.warm_up()
    aligner.warm_up()
    report = _Report()
    with _Output(args.out, sum(i.frames for i in inputs), inputs[0].fps) as output:
        bar = tqdm(total=output.total, unit="picture", desc="aligning", dynamic_ncols=True)
        for source in inputs:
            for image in source.images():
                output.add(_aligned(image, source, finder, aligner, args.max_faces, report))
                bar.update()
        bar.close()
    report.print(str(aligner.device))
    print(f"wrote {args.out}")
    return 0 if report.faces else 1


def _aligned(
    image: NDArray[np.uint8],
    source: _Input,
    finder: FaceFinder,
    aligner: Aligner,
    max_faces: int | None,
    report: _Report,
) -> NDArray[np.uint8]:
    from flowface_ros.align.aligner import Picture
    from flowface_ros.align.overlay import draw_observations

    start = time.perf_counter()
    faces = finder.detect_faces(image, max_faces)
    detected = time.perf_counter()
    answers = aligner.align_faces(Picture(image, source.path.name), faces)
    done = time.perf_counter()
    report.add(source, image, len(faces), 1e3 * (detected - start), 1e3 * (done - detected))
    return draw_observations(image, [answer.observation for answer in answers])


class _Input:
    """A picture or a video. Raises ValueError when the file is neither."""

    def __init__(self, path: Path) -> None:
        import cv2

        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        self.path, self.frames, self.fps = path, 1, _DEFAULT_FPS
        self.video = path.suffix.lower() in _VIDEO_SUFFIXES
        if self.video:
            capture = cv2.VideoCapture(str(path))
            self.frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            self.fps = capture.get(cv2.CAP_PROP_FPS) or _DEFAULT_FPS
            if not capture.isOpened() or self.frames < 1:
                raise ValueError(f"{path}: not a video that can be read")
        elif not cv2.haveImageReader(str(path)):
            raise ValueError(f"{path}: not a picture that can be read")

    def images(self) -> Iterator[NDArray[np.uint8]]:
        """RGB pictures (H, W, 3)."""
        import cv2

        if not self.video:
            image = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
            if image is None:
                raise ValueError(f"{self.path}: not a picture that can be read")
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            return
        capture, count = cv2.VideoCapture(str(self.path)), 0
        while (frame := capture.read())[0]:
            count += 1
            yield cv2.cvtColor(frame[1], cv2.COLOR_BGR2RGB)
        if not count:
            raise ValueError(f"{self.path}: not a video that can be read")


class _Output:
    """One picture, a contact sheet of several, or a video."""

    def __init__(self, path: Path, total: int, fps: float) -> None:
        self.total = total
        self._path, self._fps = path, fps
        self._is_video = path.suffix.lower() == ".mp4"
        tiles = min(total, _SHEET_TILES)
        self._kept = {round(i * (total - 1) / max(tiles - 1, 1)) for i in range(tiles)}
        self._count = 0
        self._pictures: list[NDArray[np.uint8]] = []
        self._writer: cv2.VideoWriter | None = None
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> _Output:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def add(self, picture: NDArray[np.uint8]) -> None:
        if self._is_video:
            self._add_frame(picture)
        elif self._count in self._kept:
            self._pictures.append(picture)
        self._count += 1

    def __exit__(self, kind: object, *_: object) -> None:
        import cv2

        from flowface_ros.align.overlay import contact_sheet

        if self._writer is not None:
            self._writer.release()
        if kind is not None or self._is_video:
            return
        sheet = self._pictures[0]
        if len(self._pictures) > 1:
            sheet = contact_sheet(self._pictures, _SHEET_COLUMNS, _SHEET_WIDTH_PX)
        if not cv2.imwrite(str(self._path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
            raise OSError(f"{self._path} cannot be written")

    def _add_frame(self, picture: NDArray[np.uint8]) -> None:
        import cv2

        if self._writer is None:
            # The codec wants even sides.
            self._size = (picture.shape[1] // 2 * 2, picture.shape[0] // 2 * 2)
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), codec, self._fps, self._size)
            if not self._writer.isOpened():
                raise OSError(f"{self._path} cannot be written")
        assert self._size is not None
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


@dataclass
class _Report:
    """Timings of what was aligned: one line for each input."""

    rows: dict[Path, list[tuple[int, float, float]]] = field(default_factory=dict)
    sizes: dict[Path, str] = field(default_factory=dict)

    @property
    def faces(self) -> int:
        return sum(row[0] for rows in self.rows.values() for row in rows)

    def add(
        self, source: _Input, image: NDArray[np.uint8], faces: int, find_ms: float, align_ms: float
    ) -> None:
        self.rows.setdefault(source.path, []).append((faces, find_ms, align_ms))
        self.sizes[source.path] = f"{image.shape[1]}x{image.shape[0]}"

    def print(self, device: str) -> None:
        print(f"milliseconds a picture on {device} (median): detector and landmarks, alignment")
        for path, rows in self.rows.items():
            faces = sum(row[0] for row in rows)
            find_ms, align_ms = (median(row[k] for row in rows) for k in (1, 2))
            found = f"{faces} faces in {len(rows)} pictures" if len(rows) > 1 else f"{faces} faces"
            if faces == 0:
                found = "no face found"
            elif found == "1 faces":
                found = "1 face"
            print(f"{path.name}: {self.sizes[path]}, {found}, {find_ms:.1f} + {align_ms:.2f}")
