"""Pictures with truth on disk, and what an aligner makes of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from flowface_ros.align.aligner import Aligner, Picture
from flowface_ros.align.crop import make_crop
from flowface_ros.align.observation import Observation
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState
from flowface_ros.train.datasets.captures import read_arrays
from flowface_ros.train.metrics import AlignmentMetrics
from flowface_ros.train.picture_fit import OnePictureFit
from flowface_ros.train.regions import point_regions

HALF_HIDDEN = 1 / 3
"""Share of the face's skin, of what the camera would see of it bare, from which hair and things
count as hiding half of it."""

YAW_BANDS_DEG = ((0, 30), (30, 60), (60, 90))
_BATCH = 8


@dataclass(frozen=True)
class Labels:
    """yaw_deg: of the skull against the ray to it. covered: share of the face's skin before which
    hair or things are, of what would be seen without them. face_px: longer side of the face's box,
    at the resolution that the picture was taken with. camera: good, ordinary or small (taken
    coarsely and enlarged). things: what is before the face."""

    yaw_deg: float
    covered: float
    face_px: float
    camera: str
    things: tuple[str, ...]

    def groups(self) -> list[str]:
        """Names of the sets of pictures that this one belongs to."""
        yaw = abs(self.yaw_deg)
        names = ["all"] + [f"yaw_{low}_{high}" for low, high in YAW_BANDS_DEG if low <= yaw < high]
        if self.covered >= HALF_HIDDEN:
            names.append("half_hidden")
        if self.camera == "small":
            names.append("small")
        return names


@dataclass(frozen=True, eq=False)
class TruePicture:
    """image: (S, S, 3) uint8 RGB. position_px: (Q, 2) of the queried points. visible: (Q,).
    iod_px: distance of the outer eye corners. intrinsics: (3, 3) of the camera, whose frame the
    state is in. state: arrays of a `HeadState` by field."""

    image: NDArray[np.uint8]
    position_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    iod_px: float
    intrinsics: NDArray[np.float64]
    state: dict[str, NDArray]
    labels: Labels

    @property
    def head(self) -> HeadState:
        return HeadState(**self.state)


def write_picture(
    folder: Path, number: int, picture: TruePicture, light: NDArray[np.floating]
) -> str:
    """Three files: the picture (.png), its truth (.npz), its linear light (.light.npz).

    Returns 16 hexadecimal digits of the picture's content. The truth comes last, so that what has
    one is complete.
    """
    path = folder / f"{number:06d}.npz"
    if not cv2.imwrite(str(path.with_suffix(".png")), picture.image[..., ::-1]):
        raise OSError(f"{path.with_suffix('.png')}: could not be written")
    lit = np.minimum(light, 60000).astype(np.float16)
    np.savez_compressed(path.with_suffix(".light.npz"), light=lit)
    digest = hashlib.sha256(np.ascontiguousarray(picture.image).tobytes()).hexdigest()[:16]
    arrays = {
        "position_px": picture.position_px,
        "visible": picture.visible,
        "iod_px": np.float32(picture.iod_px),
        "intrinsics": picture.intrinsics,
        "labels": np.array(json.dumps(asdict(picture.labels))),
        **{f"state/{name}": value for name, value in picture.state.items()},
    }
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, **arrays)  # type: ignore[arg-type]
    part.rename(path)
    return digest


def read_picture(path: Path) -> TruePicture:
    """The picture whose truth is in `path`. ValueError names the file."""
    image = cv2.imread(str(path.with_suffix(".png")), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path.with_suffix('.png')}: cannot be read as a picture")
    arrays = read_arrays(path)
    try:
        labels = json.loads(str(arrays["labels"]))
        labels["things"] = tuple(labels["things"])
        return TruePicture(
            image=np.ascontiguousarray(image[..., ::-1]),
            position_px=arrays["position_px"],
            visible=arrays["visible"],
            iod_px=float(arrays["iod_px"]),
            intrinsics=arrays["intrinsics"],
            state={n.removeprefix("state/"): v for n, v in arrays.items() if "/" in n},
            labels=Labels(**labels),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: is not a picture's truth ({error})") from error


def read_light(path: Path) -> NDArray[np.float16]:
    """Linear light (S, S, 3) of the picture whose truth is in `path`. ValueError names the file."""
    lit = path.with_suffix(".light.npz")
    arrays = read_arrays(lit)
    if "light" not in arrays:
        raise ValueError(f"{lit}: holds no light")
    return np.asarray(arrays["light"], np.float16)


def picture_files(folder: Path) -> list[Path]:
    """Truth files of a set. Raises FileNotFoundError when there is no such folder, ValueError when
    it holds none."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found = [path for path in sorted(folder.glob("[0-9]*.npz")) if path.stem.isdigit()]
    if not found:
        raise ValueError(f"{folder}: holds no picture with truth (000000.npz and so on)")
    return found


Figures = dict[str, dict[str, dict[str, float]]]


def set_figures(aligner: Aligner, model: HeadModel, folder: Path) -> Figures:
    """Figures of a set of pictures: by group of pictures (`Labels.groups`), then by set of points
    (see `AlignmentMetrics`); `pictures` of a group counts them, `fit` is of the heads that were
    fitted to single pictures (see `OnePictureFit`).

    Raises ValueError when the set's truth is of other points than the aligner answers.
    """
    regions, size = point_regions(model, aligner.points), aligner.crop_size
    metrics: dict[str, AlignmentMetrics] = {}
    errors: dict[str, list[float | None]] = {}
    fit = OnePictureFit(model)
    for picture, observed in _answers(aligner, folder):
        error = fit.vertex_error_m(observed, picture.intrinsics, size, picture.head)
        for name in picture.labels.groups():
            errors.setdefault(name, []).append(error)
            metrics.setdefault(name, AlignmentMetrics(regions, size)).add(
                observed.pixels[None],
                np.log(observed.sigma)[None],
                picture.position_px[None],
                picture.visible[None],
                np.array([picture.iod_px]),
            )
    return {
        name: {
            **metrics[name].figures(),
            "pictures": {"count": len(errors[name])},
            "fit": _fit_figures(errors[name]),
        }
        for name in sorted(metrics)
    }


def _answers(aligner: Aligner, folder: Path) -> Iterator[tuple[TruePicture, Observation]]:
    """The pictures of a set with what the aligner says of each as a whole."""
    files, size = picture_files(folder), aligner.crop_size
    whole = make_crop(np.full(2, (size - 1) / 2), size, 0.0, size)
    for start in tqdm(range(0, len(files), _BATCH), folder.name, leave=False):
        some = files[start : start + _BATCH]
        pictures = [read_picture(path) for path in some]
        for path, picture in zip(some, pictures, strict=True):
            _check(path, picture, aligner)
        answers = aligner.align([Picture(p.image) for p in pictures], [[whole]] * len(pictures))
        for picture, faces in zip(pictures, answers, strict=True):
            yield picture, faces[0].observation


def _fit_figures(errors: list[float | None]) -> dict[str, float]:
    found = [1e3 * error for error in errors if error is not None]
    figures: dict[str, float] = {"valid_share": len(found) / len(errors)}
    if found:
        figures |= {"mean_mm": float(np.mean(found)), "median_mm": float(np.median(found))}
    return figures


def format_set(figures: Figures) -> str:
    """A table for people: mean and median error in percent of the inter-ocular distance,
    and the median of the fits."""
    columns = ("visible", "eyelids", "lips", "hidden")
    heads = "".join(f"{name:>15}" for name in columns)
    lines = [" " * 21 + heads + f"{'sigma rms':>12}{'fit, mm':>9}"]
    for group, sets in figures.items():
        cells = [
            f"{sets[c]['mean_iod_percent']:8.2f} {sets[c]['median_iod_percent']:6.2f}"
            if c in sets
            else f"{'-':>15}"
            for c in columns
        ]
        rms = sets.get("visible", {}).get("sigma_rms", np.nan)
        fitted = sets["fit"].get("median_mm", np.nan)
        count = sets["pictures"]["count"]
        lines.append(f"{group:12} {count:5.0f}   {''.join(cells)}{rms:12.2f}{fitted:9.2f}")
    return "\n".join(lines)


def _check(path: Path, picture: TruePicture, aligner: Aligner) -> None:
    if len(picture.position_px) != len(aligner.points):
        raise ValueError(
            f"{path}: has the truth of {len(picture.position_px)} points,"
            f" the aligner answers {len(aligner.points)}"
        )
    size = aligner.crop_size
    if picture.image.shape != (size, size, 3):
        raise ValueError(
            f"{path.with_suffix('.png')}: is {picture.image.shape}, must be {(size, size, 3)}"
        )
