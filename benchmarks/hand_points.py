"""Aligners against points set by hand: pictures beside `.pts` files of iBUG's 68 points.

    python benchmarks/hand_points.py FOLDER --json FILE

The 51 points inside the face are taken from the aligners' dense answers. Every face is cut out a
dozen times in crops that are a little off, and these are spoilt by a bad camera besides. What
people mean by a point is not just where our head has it, so the mean offset of all other faces, in
the face's upright axes, is taken out of each. Percent of the distance of the outer eye corners.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import harness

harness.pin_threads(1)

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from flowface_ros.align.aligner import Aligner, Picture, make_aligner  # noqa: E402
from flowface_ros.align.crop import crop_from_points, cut, make_crop  # noqa: E402
from flowface_ros.align.landmark_net import FaceFinder  # noqa: E402
from flowface_ros.head.atlas import texel_interpolation  # noqa: E402
from flowface_ros.head.model import HeadModel  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402
from flowface_ros.synth.textures import linear_from_srgb  # noqa: E402
from flowface_ros.train.augment import augment  # noqa: E402
from flowface_ros.train.batch import Batch, inside_crop  # noqa: E402
from flowface_ros.train.datasets.correspondence import INNER_LANDMARKS  # noqa: E402
from flowface_ros.train.shots import jittered_crop  # noqa: E402

Array = NDArray[np.float64]

PARTS = {"brows": (17, 27), "nose": (27, 36), "eyes": (36, 48), "mouth": (48, 68)}
RIGHT_OUTER, LEFT_OUTER = 36, 45
CROPS, CROP_PX = 12, 256
_QUICK_FACES = 4
_SCALE_SIGMA, _SHIFT_SIGMA, _ROLL_SIGMA = 0.06, 0.03, 0.06
_AROUND = 4.0
"""Where a face is looked for, over the size of its points."""


@dataclass(frozen=True, eq=False)
class Face:
    """images: (2 K, S, S, 3), crops as they are, then spoilt. truth: (2 K, 68, 2), their pixels."""

    images: NDArray[np.uint8]
    truth: Array


def read_points(path: Path) -> Array:
    """(68, 2) pixels of a `.pts` file, which counts from 1. ValueError for other files."""
    try:
        body = path.read_text().split("{")[1].split("}")[0]
        points = np.array([line.split() for line in body.strip().splitlines()], np.float64) - 1
    except (IndexError, ValueError) as error:
        raise ValueError(f"{path}: is no .pts file ({error})") from error
    if points.shape != (68, 2):
        raise ValueError(f"{path}: has points {points.shape}, must be (68, 2)")
    return points


def pictures(folder: Path) -> Iterator[tuple[str, NDArray[np.uint8], Array]]:
    """(name, image (H, W, 3) RGB, points (68, 2)) of a folder."""
    for path in sorted(folder.glob("*.pts")):
        beside = [other for other in folder.glob(f"{path.stem}.*") if other != path]
        images = [image for image in map(cv2.imread, map(str, beside)) if image is not None]
        if not images:
            raise ValueError(f"{path}: there is no picture beside it")
        yield path.stem, cv2.cvtColor(images[0], cv2.COLOR_BGR2RGB), read_points(path)


def cut_out(finder: FaceFinder, image: NDArray[np.uint8], points: Array, seed: int) -> Face | None:
    """None where the finder does not see the face."""
    inner = points[INNER_LANDMARKS]
    size = int(_AROUND * np.ptp(inner, axis=0).max())
    around = make_crop(inner.mean(axis=0), float(size), 0.0, size)
    (scene,) = cut(image, [around])
    middle = around.to_crop(inner.mean(axis=0))
    found = [
        face
        for face in finder.detect_faces(scene)
        if np.linalg.norm(face.points[:, :2].mean(axis=0) - middle) < size / (2 * _AROUND)
    ]
    if not found:
        return None
    rng = np.random.default_rng(seed)
    ideal = crop_from_points(found[0].points[:, :2], found[0].roll, CROP_PX)
    crops = [
        jittered_crop(ideal, rng, _SCALE_SIGMA, _SHIFT_SIGMA, _ROLL_SIGMA) for _ in range(CROPS)
    ]
    truth = np.array([crop.to_crop(around.to_crop(points)) for crop in crops])
    images = np.asarray(cut(scene, crops))
    return Face(np.concatenate([images, spoilt(images, truth, seed)]), np.tile(truth, (2, 1, 1)))


def spoilt(images: NDArray[np.uint8], truth: Array, seed: int) -> NDArray[np.uint8]:
    """As the cameras see them that networks are trained on."""
    light = torch.from_numpy(linear_from_srgb(images / 255.0).transpose(0, 3, 1, 2)).float()
    places = torch.from_numpy(truth).float()
    eyes = (places[:, RIGHT_OUTER] - places[:, LEFT_OUTER]).norm(dim=1)
    found, _ = augment(Batch(light, places, inside_crop(places, CROP_PX), eyes), seed)
    return np.asarray((255 * found.clamp(0, 1)).round().byte().permute(0, 2, 3, 1).numpy())


def offsets(aligner: Aligner, model: HeadModel, face: Face) -> Array:
    """(2 K, 51, 2) from the points set by hand to the aligner's, upright, percent."""
    inner = model.landmarks["ibug68"][INNER_LANDMARKS]
    matrix, known = texel_interpolation(model, aligner.grid, inner)
    whole = make_crop(np.full(2, (CROP_PX - 1) / 2), float(CROP_PX), 0.0, CROP_PX)
    answers = aligner.align([Picture(image) for image in face.images], [[whole]] * len(face.images))
    texels = len(aligner.grid.points)
    said = np.array([matrix @ answer.observation.pixels[:texels] for (answer,) in answers])
    away = said - face.truth[:, INNER_LANDMARKS]
    away[:, ~known] = np.nan
    eyes = face.truth[:, LEFT_OUTER] - face.truth[:, RIGHT_OUTER]
    turned = (away[..., 0] + 1j * away[..., 1]) / (eyes[:, 0] + 1j * eyes[:, 1])[:, None]
    return 100 * np.stack([turned.real, turned.imag], axis=-1)


def rows(name: str, away: Sequence[Array]) -> list[dict[str, Any]]:
    """Figures of an aligner on clean and spoilt crops; of a face the mean over crops and points."""
    habits = np.array([np.mean(each[:CROPS], axis=0) for each in away])
    found = []
    for kind, crops in (("clean", slice(CROPS)), ("spoilt", slice(CROPS, None))):
        faces = [
            np.linalg.norm(each[crops] - np.mean(np.delete(habits, k, axis=0), axis=0), axis=2)
            for k, each in enumerate(away)
        ]
        raw = [np.nanmean(np.linalg.norm(each[crops], axis=2)) for each in away]
        by_face = [np.nanmean(distance) for distance in faces]
        first = INNER_LANDMARKS.start
        parts = {
            part: float(np.nanmean([distance[:, a - first : b - first] for distance in faces]))
            for part, (a, b) in PARTS.items()
        }
        found.append(
            {
                "aligner": name,
                "crops": kind,
                "with habits": float(np.mean(raw)),
                "mean": float(np.mean(by_face)),
                "median": float(np.median(by_face)),
                "worst tenth": float(np.percentile(by_face, 90)),
                **parts,
            }
        )
    return found


def main() -> None:
    parser = harness.parser((__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="of the pictures")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of the aligner `network`")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/")
    args = parser.parse_args()
    if args.folder is None:
        print("skipped: no FOLDER of pictures with .pts files given", file=sys.stderr)
        return
    torch.set_num_threads(1)
    model, finder = load_builtin_head(), FaceFinder("cpu")
    faces = []
    chosen = islice(pictures(args.folder), _QUICK_FACES if args.quick else None)
    for seed, (name, image, points) in enumerate(chosen):
        face = cut_out(finder, image, points, seed)
        if face is None:
            print(f"{name}: no face found", file=sys.stderr)
        else:
            faces.append(face)
    if len(faces) < 2:
        raise SystemExit(f"{args.folder}: {len(faces)} faces, at least 2 are needed")
    table = []
    for name in ("landmarks", "network"):
        own = args.weights if name == "network" else None
        aligner = make_aligner(name, model, device="cpu", weights=own)
        table += rows(name, [offsets(aligner, model, face) for face in faces])
    print(f"{len(faces)} faces")
    harness.print_table(table)
    if args.json:
        harness.write_json(args.json, {"faces": len(faces), "rows": table})
    if args.docs:
        body = f"{len(faces)} faces.\n\n{harness.markdown_table(table, '.2f')}"
        harness.replace_section(harness.DOCS / "network.md", "hand points", body)


if __name__ == "__main__":
    main()
