"""The Blender set's sequences as clips, and what is said of trackers on them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flowface_ros.evaluate.moving_mesh import MovingMesh
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.train.picture_set import Labels, TruePicture, write_picture

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from blender_clips import blender_clips
from blender_fit import figures, gains
from peer_clips import Clip
from peer_trackers import Answer, Run

MODEL = load_builtin_head()
WIDTH, HEIGHT, FRAMES, FPS = 96, 128, 6, 10.0
INTRINSICS = np.array([[300.0, 0, 47.5], [0, 300.0, 63.5], [0, 0, 1]])
LABELS = Labels(yaw_deg=0.0, covered=0.0, face_px=60.0, camera="good", things=())


def head(number: int) -> HeadState:
    """Half a metre before the camera, one millimetre further to the right with each frame."""
    place = np.array([0.001 * number, 0, 0.5])
    return replace(neutral_state(MODEL), translation=place, rotation=np.array([np.pi, 0, 0]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences, the second one short of its last frame."""
    where = tmp_path_factory.mktemp("sequences")
    made = range(2 * FRAMES - 1)
    for number in made:
        state = {k: v for k, v in vars(head(number)).items() if v is not None}
        image = np.full((HEIGHT, WIDTH, 3), number, np.uint8)
        nothing = np.zeros((0, 2), np.float32), np.zeros(0, bool)
        picture = TruePicture(image, *nothing, 20.0, INTRINSICS, state, LABELS)
        write_picture(where, number, picture, np.zeros((HEIGHT, WIDTH, 3)))
    about = {"set": "sequences", "frames": FRAMES, "fps": FPS}
    about["pictures"] = {str(number): ["", ""] for number in made}
    (where / "manifest.json").write_text(json.dumps(about))
    return where


@pytest.fixture(scope="module")
def clips(folder: Path) -> list[Clip]:
    return blender_clips(folder, MODEL)


def off_by(metres: np.ndarray, missing: int = 0) -> Run:
    """Answers the truth moved by (3,) times the frame's number; no answer in the first frames."""

    def run(clip: Clip, mode: str) -> Answer:
        vertices = [
            None if t < missing or v is None else v + metres * t
            for t, v in enumerate(clip.truth.vertices)
        ]
        return Answer(MovingMesh(MODEL.triangles, vertices), [None] * len(vertices), 1.0)

    return run


def test_complete_sequences_are_read_with_their_truth(clips: list[Clip]) -> None:
    (clip,) = clips
    assert len(clip.images) == FRAMES and clip.images[3].shape == (HEIGHT, WIDTH, 3)
    assert (clip.images[3] == 3).all()
    assert np.diff(clip.stamps_ns).tolist() == [100_000_000] * (FRAMES - 1)
    np.testing.assert_array_equal(clip.cameras[2].intrinsics, INTRINSICS)
    assert (clip.cameras[2].width, clip.cameras[2].height) == (WIDTH, HEIGHT)
    truth = clip.truth.vertices[4]
    assert truth is not None
    np.testing.assert_allclose(truth, pose_vertices(MODEL, head(4)), atol=1e-6)


def test_other_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="manifest"):
        blender_clips(tmp_path, MODEL)
    about = json.loads((folder / "manifest.json").read_text())
    listed = tmp_path / "manifest.json"
    listed.write_text(json.dumps({**about, "pictures": {"0": ["", ""]}}))
    with pytest.raises(ValueError, match="complete"):
        blender_clips(tmp_path, MODEL)
    listed.write_text(json.dumps({"set": "validation", "pictures": {}}))
    with pytest.raises(ValueError, match="validation"):
        blender_clips(tmp_path, MODEL)


def test_errors_are_those_that_were_put_in(clips: list[Clip]) -> None:
    """A mesh that drifts sideways by 1 mm a frame drifts by focal / depth pixels a millimetre."""
    right = np.array([1e-3, 0, 0])
    trackers = {
        ("network", 1): off_by(right / 2),
        ("landmarks", 1): off_by(right),
        ("network", 8): off_by(right, missing=3),
    }
    rows = figures(clips, trackers)
    half, whole, late = rows[:3]
    assert [row["mode"] for row in rows] == ["single"] * 3 + ["sequence"] * 3
    assert whole["rig_mm"] == pytest.approx(2.5, abs=1e-6)
    assert whole["rig_median_mm"] == pytest.approx(2.5, abs=1e-6)
    assert whole["aligned_mm"] == pytest.approx(0, abs=1e-6)
    assert (whole["found"], late["found"]) == (1.0, 0.5)
    assert late["rig_mm"] == pytest.approx(4.0, abs=1e-6)
    pixel = 300 / 0.5 * 1e-3  # a little more where the face is nearer than the head's origin
    assert whole["0.1 s"] == pytest.approx(pixel, rel=0.25)
    assert whole["0.5 s"] == pytest.approx(5 * whole["0.1 s"], rel=0.05)
    assert np.isnan(whole["1 s"])
    assert half["ssme_px"] == pytest.approx(whole["ssme_px"] / 2, rel=0.02)
    (first, second) = gains(rows)
    assert (first["mode"], second["mode"], first["looks"]) == ("single", "sequence", 1)
    assert first["rig_mm"] == pytest.approx(0.5, abs=1e-6)
    assert first["ssme_px"] == pytest.approx(0.5, abs=0.02)
