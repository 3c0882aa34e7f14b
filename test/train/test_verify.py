"""Figures of an aligner, with one whose answers are known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from flowface_ros.align.aligner import FaceAlignment
from flowface_ros.align.observation import Observation
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.train import verify
from flowface_ros.train.studio import DrawnBatch, Studio


class KnownErrors:
    """Answers the truth of the studio's next pictures, off by noise of a known sigma."""

    def __init__(self, studio_batches: list[DrawnBatch], sigma: float) -> None:
        self.points, self.crop_size = texel_grid(load_builtin_head(), 12).points, 64
        self._batches, self._sigma = studio_batches, sigma

    def align(self, pictures, crops):  # type: ignore[no-untyped-def]
        truth = self._batches[-1].position_px
        noise = np.random.default_rng(0).normal(0, self._sigma, truth.shape)
        sigma = np.full(len(self.points), self._sigma)
        observed = [Observation(self.points, p, sigma, "", 0) for p in truth + noise]
        return [[FaceAlignment(o, None, crop[0])] for o, crop in zip(observed, crops, strict=True)]


def test_synthetic_figures_of_known_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[DrawnBatch] = []
    plain = Studio.batch
    monkeypatch.setattr(verify, "_BATCH", 2)
    monkeypatch.setattr(
        Studio, "batch", lambda self, k: (drawn.append(plain(self, k)), drawn[-1])[1]
    )
    aligner = KnownErrors(drawn, 0.5)
    figures = verify.synthetic_figures(aligner, load_builtin_head(), 4)  # type: ignore[arg-type]
    assert len(drawn) == 2
    iod = np.concatenate([d.iod_px for d in drawn])
    expected = 100 * 0.5 * np.sqrt(np.pi / 2) * np.mean(1 / iod)
    assert figures["visible_all"]["mean_iod_percent"] == pytest.approx(expected, rel=0.25)
    assert figures["visible_all"]["sigma_rms"] == pytest.approx(1, abs=0.12)
    assert figures["hidden_all"]["points"] > 20


def test_frontal_faces() -> None:
    points = np.zeros((478, 3))
    points[verify.LEFT_EYE_OUTER, 0], points[verify.RIGHT_EYE_OUTER, 0] = 50, -50
    points[verify._NOSE_TIP, :2] = 0, 30
    assert verify._is_frontal(points)
    points[verify._NOSE_TIP, 0] = 45
    assert not verify._is_frontal(points)


def test_photographs_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no picture that can be read"):
        verify.photographs(tmp_path)
    (tmp_path / "notes.txt").write_text("not a picture")
    red = np.zeros((4, 5, 3), np.uint8)
    red[..., 2] = 255  # OpenCV's order
    cv2.imwrite(str(tmp_path / "a.png"), red)
    (image,) = verify.photographs(tmp_path)
    assert image.shape == (4, 5, 3) and (image[0, 0] == [255, 0, 0]).all()


def test_count_must_be_positive() -> None:
    from flowface_ros.commands.weights import _verify

    with pytest.raises(ValueError, match="--count is 0"):
        _verify(SimpleNamespace(count=0))  # type: ignore[arg-type]


@pytest.mark.slow
def test_landmarks_agree_with_themselves_on_a_photograph(tmp_path: Path) -> None:
    import json

    pytest.importorskip("skimage")
    from flowface_ros.cli import main

    out = tmp_path / "figures.json"
    arguments = ["weights", "verify", "--aligner", "landmarks", "--count", "16", "--json", str(out)]
    assert main(arguments) == 0
    figures = json.loads(out.read_text())
    assert figures["real_iod_percent"] < 1.5
    assert 0.7 < figures["jitter_ratio"] < 1.2
    assert 0.6 < figures["sigma_rms"] < 1.6
    assert figures["visible_iod_percent"] < figures["hidden_iod_percent"] < 40
