"""`flowface synth`: the bag holds what it says, and does not depend on how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flowface_ros import cli
from flowface_ros.bag.face_messages import read_face, read_mesh, stamp_ns
from flowface_ros.bag.images import decode_any_image
from flowface_ros.bag.reader import open_bag
from flowface_ros.camera.camera_info import camera_from_info
from flowface_ros.demo.scene_sheet import sheet_of_bag
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.rigid import apply, inverse, transform
from flowface_ros.synth.scene.scene import Scene, SceneConfig, seconds
from flowface_ros.track.tracked_head import face_pose

TINY = ["--size", "96x72", "--seconds", "0.2", "--seed", "5", "--jobs", "1"]
CONFIG = SceneConfig(seed=5, cameras=3, width=96, height=72, duration_s=0.2)


def synth(path: Path, *arguments: str) -> list[tuple[str, int, Any]]:
    """All messages of the bag that the command writes."""
    assert cli.main(["synth", "--out", str(path), *TINY, *arguments]) == 0
    with open_bag(path) as bag:
        return list(bag.messages())


@pytest.fixture(scope="module")
def bag_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bag") / "three.mcap"


@pytest.fixture(scope="module")
def recorded(bag_path: Path) -> list[tuple[str, int, Any]]:
    return synth(bag_path)


def on(messages: list[tuple[str, int, Any]], topic: str) -> list[Any]:
    return [message for name, _, message in messages if name == topic]


def matrix(stamped: Any) -> np.ndarray:
    t, q = stamped.transform.translation, stamped.transform.rotation
    return transform(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), [t.x, t.y, t.z])


def test_topics(recorded: list[tuple[str, int, Any]]) -> None:
    counts: dict[str, int] = {}
    for topic, _, _ in recorded:
        counts[topic] = counts.get(topic, 0) + 1
    images = {f"/{n}/image_raw/compressed": 6 for n in ("left", "center", "right")}
    infos = {f"/{n}/camera_info": 6 for n in ("left", "center", "right")}
    truth = {"/ground_truth/faces": 6, "/ground_truth/meshes": 6, "/ground_truth/head_model": 1}
    assert counts == {**images, **infos, **truth, "/tf_static": 1}


def test_bag_time_never_goes_back(recorded: list[tuple[str, int, Any]]) -> None:
    assert (np.diff([time for _, time, _ in recorded]) >= 0).all()


def test_images_are_those_of_the_scene_at_their_stamps(
    recorded: list[tuple[str, int, Any]],
) -> None:
    scene = Scene(CONFIG)
    message = on(recorded, "/right/image_raw/compressed")[3]
    wanted = scene.render(2, seconds(stamp_ns(message))).color
    assert np.abs(decode_any_image(message).astype(int) - wanted).mean() < 4.0


def test_cameras_and_tf_are_the_rig(recorded: list[tuple[str, int, Any]]) -> None:
    rig = Scene(CONFIG).cameras(0.0)
    (static,) = on(recorded, "/tf_static")
    for stamped in static.transforms:
        name = stamped.child_frame_id.removesuffix("_optical_frame")
        info = on(recorded, f"/{name}/camera_info")[0]
        assert stamped.header.frame_id == "rig"
        camera = camera_from_info(info, name, matrix(stamped))
        np.testing.assert_allclose(camera.rig_from_camera, rig[name].rig_from_camera, atol=1e-12)
        np.testing.assert_array_equal(camera.intrinsics, rig[name].intrinsics)
        assert camera.lens == rig[name].lens


def test_truth_has_the_primary_cameras_stamps_and_the_scenes_heads(
    recorded: list[tuple[str, int, Any]],
) -> None:
    scene = Scene(CONFIG)
    arrays, meshes = (on(recorded, f"/ground_truth/{n}") for n in ("faces", "meshes"))
    images = on(recorded, "/center/image_raw/compressed")
    assert [stamp_ns(m) for m in arrays] == [stamp_ns(m) for m in images]
    first = [stamp_ns(on(recorded, f"/{n}/image_raw/compressed")[0]) for n in scene.camera_names]
    assert arrays[0].faces[0].stamp_spread_s == pytest.approx(np.ptp(first) * 1e-9)
    for array, mesh in zip(arrays, meshes, strict=True):
        state = scene.head_state(0, seconds(stamp_ns(array)))
        record = read_face(array.faces[0])
        np.testing.assert_allclose(record.rig_from_face, face_pose(scene.model, state), atol=1e-9)
        np.testing.assert_allclose(record.expression, state.expression, atol=1e-6)
        assert record.views == ("left", "center", "right")
        in_rig = apply(record.rig_from_face, read_mesh(mesh))
        np.testing.assert_allclose(in_rig, pose_vertices(scene.model, state), atol=1e-6)
        assert mesh.header.frame_id == f"face_{record.id}"


def test_contact_sheet_of_a_bag(bag_path: Path, recorded: list[tuple[str, int, Any]]) -> None:
    sheet = sheet_of_bag(Scene(CONFIG), bag_path)
    assert sheet.dtype == np.uint8
    # A row per moment, in each a plain and a marked tile of three cameras.
    rows = np.array_split(sheet, 4)
    assert all(row.std() > 20 for row in rows)
    yellow = (sheet[..., :2].min(axis=2) > 240) & (sheet[..., 2] < 90)
    assert all(part.sum() > 50 for part in np.array_split(yellow, 4))


def test_bag_does_not_depend_on_jobs(tmp_path: Path) -> None:
    short = ["--cameras", "1", "--seconds", "0.1"]
    # Equal names: a bag holds its own.
    one, two = tmp_path / "one" / "bag.mcap", tmp_path / "two" / "bag.mcap"
    synth(one, *short)
    synth(two, *short, "--jobs", "2")
    assert one.read_bytes() == two.read_bytes()


def test_moving_rig_goes_through_tf(tmp_path: Path) -> None:
    messages = synth(tmp_path / "moving.db3", "--moving-rig", "--raw", "--cameras", "1")
    (static,) = on(messages, "/tf_static")
    assert static.transforms[0].header.frame_id == "rig_head"
    moving = [message.transforms[0] for message in on(messages, "/tf")]
    stamps = np.array([stamp_ns(stamped) for stamped in moving])
    np.testing.assert_allclose(np.diff(stamps), 1e7, atol=2)
    image = on(messages, "/camera/image_raw")[2]
    assert image.encoding == "rgb8"
    assert stamps[0] < stamp_ns(on(messages, "/camera/image_raw")[0])
    assert stamps[-1] > stamp_ns(on(messages, "/camera/image_raw")[-1])
    nearest = moving[int(np.abs(stamps - stamp_ns(image)).argmin())]
    scene = Scene(SceneConfig(seed=5, width=96, height=72, duration_s=0.2, moving_rig=True))
    camera = scene.cameras(seconds(stamp_ns(nearest)))["camera"]
    found = matrix(nearest) @ matrix(static.transforms[0])
    np.testing.assert_allclose(inverse(found) @ camera.rig_from_camera, np.eye(4), atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cameras", "9"], "cameras: 9"),
        (["--lens", "fisheye"], "lens: 'fisheye'"),
        (["--fps", "-1"], "fps: -1"),
        (["--stamp-jitter-ms", "40"], "stamp_jitter_s: 0.04"),
        (["--jobs", "0"], "jobs: 0"),
        (["--storage", "sqlite3"], "storage sqlite3"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status = cli.main(["synth", "--out", str(tmp_path / "bag.mcap"), *TINY, *arguments])
    assert status == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_existing_bag_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bag.mcap"
    path.write_bytes(b"mine")
    assert cli.main(["synth", "--out", str(path), *TINY]) == 2
    assert "exists" in capsys.readouterr().err
    assert path.read_bytes() == b"mine"


def test_size_must_be_a_size(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["synth", "--out", "bag.mcap", "--size", "640"])
    assert exit_.value.code == 2
    assert "640x480" in capsys.readouterr().err
