"""Pictures with truth on disk, and the figures of an aligner on them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flowface_ros.align.aligner import FaceAlignment
from flowface_ros.align.observation import Observation
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.state import neutral_state
from flowface_ros.train.picture_fit import OnePictureFit
from flowface_ros.train.picture_set import (
    Labels,
    TruePicture,
    format_set,
    picture_files,
    read_light,
    read_picture,
    set_figures,
    write_picture,
)

SIZE = 64
MODEL = load_builtin_head()
POINTS = texel_grid(MODEL, 12).points
STATE = {n: v for n, v in vars(neutral_state(MODEL)).items() if v is not None}
LABELS = Labels(yaw_deg=-35.0, covered=0.5, face_px=40.0, camera="good", things=("hand",))


def picture(seed: int, labels: Labels = LABELS) -> TruePicture:
    rng = np.random.default_rng(seed)
    return TruePicture(
        image=rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8),
        position_px=rng.uniform(5, SIZE - 5, (len(POINTS), 2)).astype(np.float32),
        visible=rng.random(len(POINTS)) < 0.7,
        iod_px=20.0 + seed,
        intrinsics=np.eye(3),
        state=STATE,
        labels=labels,
    )


class OffByKnown:
    """Answers the truth of a list of pictures in turn, off to the right."""

    crop_size, points = SIZE, POINTS

    def __init__(self, pictures: list[TruePicture], off_px: float) -> None:
        self._truth, self._off = [p.position_px for p in pictures], off_px

    def align(self, pictures, crops):  # type: ignore[no-untyped-def]
        answers = []
        for _, (crop,) in zip(pictures, crops, strict=True):
            pixels = self._truth.pop(0) + np.array([self._off, 0])
            observed = Observation(self.points, pixels, np.full(len(self.points), 2.0), "", 0)
            answers.append([FaceAlignment(observed, None, crop)])
        return answers


def test_written_pictures_are_read_back(tmp_path: Path) -> None:
    first, light = picture(0), np.full((SIZE, SIZE, 3), 1e6)
    digest = write_picture(tmp_path, 7, first, light)
    (path,) = picture_files(tmp_path)
    read = read_picture(path)
    assert path.name == "000007.npz" and len(digest) == 16
    np.testing.assert_array_equal(read.image, first.image)
    np.testing.assert_array_equal(read.position_px, first.position_px)
    np.testing.assert_array_equal(read.visible, first.visible)
    np.testing.assert_array_equal(read.head.expression, first.state["expression"])
    assert read.labels == LABELS and read.iod_px == first.iod_px
    with np.load(path.with_suffix(".light.npz")) as file:
        assert np.isfinite(file["light"]).all()
    assert write_picture(tmp_path, 8, picture(1), light) != digest


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits that are 2 mm off, none where the intrinsics are zero."""
    monkeypatch.setattr(
        OnePictureFit, "vertex_error_m", lambda self, o, k, size, true: 0.002 if k[0, 0] else None
    )


@pytest.mark.usefixtures("fits")
def test_figures_of_known_errors_by_group(tmp_path: Path) -> None:
    small = replace(LABELS, yaw_deg=80.0, covered=0.1, camera="small")
    unfitted = replace(picture(1, small), intrinsics=np.zeros((3, 3)))
    pictures = [picture(0), unfitted, picture(2, replace(LABELS, yaw_deg=5.0))]
    for number, one in enumerate(pictures):
        write_picture(tmp_path, number, one, np.zeros((SIZE, SIZE, 3)))
    figures = set_figures(OffByKnown(pictures, 1.5), MODEL, tmp_path)  # type: ignore[arg-type]
    assert set(figures) == {"all", "yaw_0_30", "yaw_30_60", "yaw_60_90", "half_hidden", "small"}
    counts = {name: sets["pictures"]["count"] for name, sets in figures.items()}
    assert counts["all"] == 3 and counts["half_hidden"] == 2 and counts["small"] == 1
    assert figures["yaw_30_60"]["visible"]["mean_iod_percent"] == pytest.approx(100 * 1.5 / 20)
    assert figures["small"]["hidden"]["median_iod_percent"] == pytest.approx(100 * 1.5 / 21)
    assert figures["all"]["visible"]["sigma_rms"] == pytest.approx(1.5 / 2 / np.sqrt(2))
    assert figures["small"]["fit"] == {"valid_share": 0.0}
    assert figures["all"]["fit"]["valid_share"] == pytest.approx(2 / 3)
    assert figures["all"]["fit"]["median_mm"] == pytest.approx(2.0)
    table = format_set(figures)
    assert "yaw_60_90" in table and "7.50" in table


@pytest.mark.usefixtures("fits")
def test_groups_without_a_region_are_shown(tmp_path: Path) -> None:
    one = replace(picture(0), visible=np.zeros(len(POINTS), bool))
    write_picture(tmp_path, 0, one, np.zeros((SIZE, SIZE, 3)))
    figures = set_figures(OffByKnown([one], 1.0), MODEL, tmp_path)  # type: ignore[arg-type]
    assert "visible" not in figures["all"] and " - " in format_set(figures)


def test_fit_of_exact_observations() -> None:
    rng = np.random.default_rng(4)
    shape = np.zeros(MODEL.shape_count)
    shape[:10] = rng.normal(0, 0.7, 10)
    true = replace(
        neutral_state(MODEL), shape=shape, rotation=np.array([np.pi, 0, 0]),
        translation=np.array([0.0, 0.0, 0.6]),
    )  # fmt: skip
    points = texel_grid(MODEL, 24).points
    intrinsics = np.array([[700.0, 0, 128], [0, 700, 128], [0, 0, 1]])
    places = SurfaceEvaluator(MODEL, points).positions(true)
    pixels = places[:, :2] / places[:, 2:] * 700 + 128
    observed = Observation(points, pixels, np.full(len(points), 0.2), "", 0)
    error = OnePictureFit(MODEL).vertex_error_m(observed, intrinsics, 256, true)
    average = replace(true, shape=np.zeros(MODEL.shape_count))
    worse = OnePictureFit(MODEL).vertex_error_m(observed, intrinsics, 256, average)
    assert error is not None and worse is not None and error < 0.0015 and worse > 1.5 * error


def test_batches_from_pictures(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from flowface_ros.train.datasets.pictures import PictureSource

    for number in range(3):
        write_picture(tmp_path, number, picture(number), np.full((SIZE, SIZE, 3), number))
    source = PictureSource(MODEL, tmp_path, SIZE, 12, 5, seed=3)
    batch, again, other = source.batch(7), source.batch(7), source.batch(8)
    for a, b in zip(batch.tensors(), again.tensors(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(batch.iod_px, other.iod_px)
    for light, position, iod in zip(batch.light, batch.position_px, batch.iod_px, strict=True):
        number = int(light.max())
        assert iod == 20 + number
        np.testing.assert_array_equal(position, picture(number).position_px)
    stepped = PictureSource(MODEL, tmp_path, SIZE, 12, 5, seed=3, rank=1, world=4)
    assert torch.equal(next(stepped.batches(2)).iod_px, source.batch(9).iod_px)
    with pytest.raises(ValueError, match=r"must be .32, 32, 3."):
        PictureSource(MODEL, tmp_path, 32, 12, 5, seed=3)


def test_batches_from_pictures_with_irises(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from flowface_ros.train.datasets.pictures import PictureSource

    known, irises = picture(0), np.full((10, 2), 30, np.float32)
    seen = replace(
        known,
        position_px=np.concatenate([known.position_px, irises]),
        visible=np.append(known.visible, np.ones(10, bool)),
    )
    write_picture(tmp_path, 0, seen, np.zeros((SIZE, SIZE, 3)))
    plain = PictureSource(MODEL, tmp_path, SIZE, 12, 2, seed=0).batch(0)
    whole = PictureSource(MODEL, tmp_path, SIZE, 12, 2, seed=0, irises=True).batch(0)
    np.testing.assert_array_equal(plain.position_px[0], known.position_px)
    np.testing.assert_array_equal(whole.position_px[0], seen.position_px)
    write_picture(tmp_path, 0, known, np.zeros((SIZE, SIZE, 3)))
    with pytest.raises(ValueError, match=f"with at least {len(POINTS) + 10}"):
        PictureSource(MODEL, tmp_path, SIZE, 12, 2, seed=0, irises=True)


@pytest.mark.usefixtures("fits")
def test_command_measures_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    from flowface_ros.cli import main

    command = ["weights", "verify", "--aligner", "landmarks", "--set", str(tmp_path)]
    assert main(command) == 2 and "no picture with truth" in capsys.readouterr().err
    count = len(texel_grid(MODEL, 48).points) + 10
    rng = np.random.default_rng(0)
    one = replace(
        picture(0),
        image=rng.integers(0, 256, (256, 256, 3), np.uint8),
        position_px=rng.uniform(5, 250, (count, 2)).astype(np.float32),
        visible=np.ones(count, bool),
    )
    write_picture(tmp_path, 0, one, np.zeros((256, 256, 3)))
    assert main([*command, "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["aligner"] == "landmarks"
    assert figures["set"]["half_hidden"]["eyelids"]["mean_iod_percent"] > 50
    assert "yaw_30_60" in capsys.readouterr().out


def test_broken_files_are_named(tmp_path: Path) -> None:
    write_picture(tmp_path, 0, picture(0), np.zeros((SIZE, SIZE, 3)))
    truth, light = tmp_path / "000000.npz", tmp_path / "000000.light.npz"
    for path, read in ((light, read_light), (truth, read_picture)):
        good = path.read_bytes()
        for bad in (b"", b"none", good[: len(good) // 2], good[:150] + bytes(40) + good[190:]):
            path.write_bytes(bad)
            with pytest.raises(ValueError, match=rf"{path.name}: cannot be read as arrays"):
                read(truth)
        path.write_bytes(good)
        assert read(truth) is not None
    np.savez(light, dark=np.zeros(3))
    with pytest.raises(ValueError, match=r"light\.npz: holds no light"):
        read_light(truth)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no picture with truth"):
        picture_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        picture_files(tmp_path / "nowhere")
    one = picture(0)
    short = replace(one, position_px=one.position_px[:5], visible=one.visible[:5])
    write_picture(tmp_path, 0, short, np.zeros((SIZE, SIZE, 3)))
    with pytest.raises(ValueError, match=r"000000\.npz: has the truth of 5 points"):
        set_figures(OffByKnown([one], 1.0), MODEL, tmp_path)  # type: ignore[arg-type]
    write_picture(tmp_path, 0, replace(one, image=one.image[:32]), np.zeros((SIZE, SIZE, 3)))
    with pytest.raises(ValueError, match=r"000000\.png: is .32, 64, 3."):
        set_figures(OffByKnown([one], 1.0), MODEL, tmp_path)  # type: ignore[arg-type]
    np.savez(tmp_path / "000000.npz", position_px=one.position_px)
    with pytest.raises(ValueError, match=r"000000\.npz: is not a picture's truth"):
        read_picture(tmp_path / "000000.npz")
    (tmp_path / "000000.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"000000\.png: cannot be read"):
        read_picture(tmp_path / "000000.npz")
