"""Calibration files: round trips, files of other programs, and what is wrong with bad ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera, intrinsics_matrix
from flowface_ros.camera.camera_info_yaml import read_camera_info_yaml, write_camera_info_yaml
from flowface_ros.camera.kalibr_yaml import read_kalibr_yaml, write_kalibr_yaml
from flowface_ros.camera.lens import Lens
from flowface_ros.camera.opencv_yaml import read_opencv_yaml, write_opencv_yaml
from flowface_ros.camera.rig import Rig
from flowface_ros.camera.rig_yaml import read_rig_yaml, write_rig_yaml
from flowface_ros.camera.yaml_fields import CameraFileError

MANUAL = Path(__file__).parents[2] / "docs" / "cameras.md"
EXAMPLE = Path(__file__).parents[2] / "config" / "rig_example.yaml"

numbers = st.floats(-0.5, 0.5).filter(lambda value: value == 0 or abs(value) > 1e-300)
four = st.tuples(*[numbers] * 4)
lenses = st.one_of(
    four.map(lambda k: Lens("plumb_bob", k)),
    st.tuples(*[numbers] * 5).map(lambda k: Lens("plumb_bob", k)),
    st.tuples(*[numbers] * 8).map(lambda k: Lens("rational_polynomial", k)),
    four.map(lambda k: Lens("equidistant", k)),
)
kalibr_lenses = st.one_of(
    st.just(Lens()),
    four.filter(any).map(lambda k: Lens("plumb_bob", k)),
    four.map(lambda k: Lens("equidistant", k)),
)
poses = st.tuples(st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(-5, 5)] * 3)).map(
    lambda pair: rigid.transform(Rotation.from_rotvec(pair[0]).as_matrix(), pair[1])
)

AT_ORIGIN = st.just(np.eye(4))


def cameras(lens, pose=AT_ORIGIN, name: str = "left", frame: str = ""):
    return st.builds(
        lambda lens, pose, width, height, f, c: Camera(
            name, width, height, intrinsics_matrix(*f, *c), lens, pose, frame
        ),
        lens,
        pose,
        st.integers(1, 8000),
        st.integers(1, 8000),
        st.tuples(st.floats(1, 5000), st.floats(1, 5000)),
        st.tuples(st.floats(-100, 4000), st.floats(-100, 4000)),
    )


def rigs(lens):
    return st.tuples(
        cameras(lens, poses, "left", "left_optical_frame"),
        cameras(lens, poses, "right"),
        cameras(lens, poses, "top/wide"),
    ).map(lambda three: Rig(three, "desk"))


def assert_same(actual: Camera, expected: Camera, pose_tolerance: float = 0.0):
    assert actual.moved(expected.rig_from_camera) == expected
    np.testing.assert_allclose(
        actual.rig_from_camera, expected.rig_from_camera, rtol=0, atol=pose_tolerance
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@settings(max_examples=40, deadline=None)
@given(camera=cameras(lenses))
def test_camera_info_round_trip(folder, camera):
    write_camera_info_yaml(folder / "info.yaml", camera)
    assert read_camera_info_yaml(folder / "info.yaml") == camera


@settings(max_examples=40, deadline=None)
@given(camera=cameras(lenses))
def test_opencv_round_trip(folder, camera):
    write_opencv_yaml(folder / "opencv.yml", camera)
    assert read_opencv_yaml(folder / "opencv.yml") == camera


@settings(max_examples=40, deadline=None)
@given(rig=rigs(lenses))
def test_rig_round_trip(folder, rig):
    write_rig_yaml(folder / "rig.yaml", rig)
    read = read_rig_yaml(folder / "rig.yaml")
    assert (read.frame, read.names) == (rig.frame, rig.names)
    for actual, expected in zip(read, rig, strict=True):
        assert_same(actual, expected, 1e-14)


@settings(max_examples=40, deadline=None)
@given(rig=rigs(kalibr_lenses))
def test_kalibr_round_trip(folder, rig):
    write_kalibr_yaml(folder / "camchain.yaml", rig)
    read = read_kalibr_yaml(folder / "camchain.yaml", "desk")
    assert (read.frame, read.names) == (rig.frame, rig.names)
    first_from_rig = rig.cameras[0].camera_from_rig
    for actual, expected in zip(read, rig, strict=True):
        seen_by_first = first_from_rig @ expected.rig_from_camera
        np.testing.assert_allclose(actual.rig_from_camera, seen_by_first, atol=1e-12)
        assert actual.lens == expected.lens
        np.testing.assert_array_equal(actual.intrinsics, expected.intrinsics)


CAMERA_INFO = """\
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [438.783367, 0.000000, 305.593336, 0.000000, 437.302876, 243.738352, 0, 0, 1e0]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.361976, 0.110510, 1e-3, 0.000505, 0.000000]
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [393, 0, 305, 0, 0, 393, 243, 0, 0, 0, 1, 0]}
"""

KALIBR = """\
cam0:
  cam_overlaps: [1]
  camera_model: pinhole
  distortion_coeffs: [-0.28, 0.07, 0.0002, 1.8e-05]
  distortion_model: radtan
  intrinsics: [458.6, 457.3, 367.2, 248.4]
  resolution: [752, 480]
  rostopic: /stereo/left/image_raw
cam1:
  T_cn_cnm1:
  - [1.0, 0.0, 0.0, -0.11]
  - [0.0, 1.0, 0.0, 0.0]
  - [0.0, 0.0, 1.0, 0.0]
  - [0.0, 0.0, 0.0, 1.0]
  cam_overlaps: [0]
  camera_model: pinhole
  distortion_coeffs: [-0.01, 0.02, -0.01, 0.001]
  distortion_model: equidistant
  intrinsics: [457.6, 456.1, 379.9, 255.2]
  resolution: [752, 480]
  rostopic: /stereo/right/image_raw/compressed
"""

OPENCV = """\
%YAML:1.0
---
calibration_time: "Thu 01 Jan 2026"
image_width: 1280
image_height: 720
flags: 0
fisheye_model: 0
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 900., 0., 640.5, 0., 901., 359.5, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ -0.25, 0.1, 1.e-3, -5.e-4, 0. ]
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_camera_info_as_ros_writes_it(tmp_path):
    camera = read_camera_info_yaml(write(tmp_path, "left.yaml", CAMERA_INFO))
    assert (camera.name, camera.width, camera.height) == ("narrow_stereo", 640, 480)
    assert camera.intrinsics[1, 2] == 243.738352
    assert camera.lens == Lens("plumb_bob", [-0.361976, 0.110510, 1e-3, 0.000505, 0])
    pose = rigid.transform(np.eye(3), [1, 2, 3])
    named = read_camera_info_yaml(tmp_path / "left.yaml", "front", pose, "front_optical_frame")
    assert (named.name, named.frame) == ("front", "front_optical_frame")
    np.testing.assert_array_equal(named.rig_from_camera, pose)


def test_camera_info_of_old_programs(tmp_path):
    for line in ("", "camera_model: plumb_bob\n"):
        text = CAMERA_INFO.replace("distortion_model: plumb_bob\n", line)
        assert read_camera_info_yaml(write(tmp_path, "a.yaml", text)).lens.model == "plumb_bob"
    text = CAMERA_INFO.replace("narrow_stereo", "14012345")
    assert read_camera_info_yaml(write(tmp_path, "a.yaml", text)).name == "14012345"
    text = CAMERA_INFO.replace("distortion_model: plumb_bob", "camera_model: magic")
    with pytest.raises(CameraFileError, match="distortion_model is 'magic'"):
        read_camera_info_yaml(write(tmp_path, "a.yaml", text))


def test_kalibr_as_kalibr_writes_it(tmp_path):
    rig = read_kalibr_yaml(write(tmp_path, "camchain.yaml", KALIBR))
    assert rig.names == ("stereo/left", "stereo/right")
    left, right = rig
    # T_cn_cnm1 maps points of cam0 into cam1: cam1 is 0.11 m to the right.
    np.testing.assert_allclose(right.rig_from_camera[:3, 3], [0.11, 0, 0])
    assert (left.lens.model, right.lens.model) == ("plumb_bob", "equidistant")
    without_topics = KALIBR.replace("rostopic", "other")
    assert read_kalibr_yaml(write(tmp_path, "b.yaml", without_topics)).names == ("cam0", "cam1")


def test_opencv_as_opencv_writes_it(tmp_path):
    camera = read_opencv_yaml(write(tmp_path, "left.yml", OPENCV))
    assert (camera.name, camera.width, camera.height) == ("left", 1280, 720)
    assert camera.lens == Lens("plumb_bob", [-0.25, 0.1, 1e-3, -5e-4, 0])


@pytest.mark.parametrize("suffix", ["yml", "xml", "json"])
def test_opencv_in_all_its_formats(tmp_path, suffix):
    path = tmp_path / f"fisheye.{suffix}"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("calibration_time", "Thu 01 Jan 2026")
    storage.write("image_width", 640)
    storage.write("image_height", 480)
    storage.write("fisheye_model", 1)
    storage.write("camera_matrix", np.diag([300.0, 301.0, 1.0]))
    storage.write("image_points", np.zeros((2, 3, 2), np.float32))
    storage.write("distortion_coefficients", np.array([[0.1, 0.2, 1e-5, 0.4]]))
    storage.release()
    camera = read_opencv_yaml(path)
    assert (camera.name, camera.width, camera.height) == ("fisheye", 640, 480)
    assert camera.intrinsics[1, 1] == 301
    assert camera.lens == Lens("equidistant", [0.1, 0.2, 1e-5, 0.4])


def test_the_example_rig_looks_at_the_face():
    rig = read_rig_yaml(EXAMPLE)
    assert rig.names == ("middle", "left", "above")
    face = np.array([1.0, 0.0, 0.0])
    for camera in rig:
        pixel, valid = camera.project(rigid.apply(camera.camera_from_rig, face))
        assert valid
        centre = np.array([camera.width, camera.height]) / 2
        assert (np.abs(pixel - centre) < 0.15 * centre).all()
        # Up in the rig is up in the image.
        above = camera.project(rigid.apply(camera.camera_from_rig, face + np.array([0, 0, 0.1])))[0]
        assert above[1] < pixel[1] - 30


def test_a_rig_may_refer_to_camera_info_files(tmp_path):
    write(tmp_path, "left.yaml", CAMERA_INFO)
    text = """
frame: desk
cameras:
  front:
    camera_info: left.yaml
    frame: front_optical_frame
    pose: {translation: [0, 1, 0], rpy: [0, 0, 0]}
"""
    (camera,) = read_rig_yaml(write(tmp_path, "rig.yaml", text))
    assert (camera.name, camera.frame, camera.width) == ("front", "front_optical_frame", 640)
    np.testing.assert_array_equal(camera.rig_from_camera[:3, 3], [0, 1, 0])


def test_the_manual_shows_a_file_that_can_be_read(tmp_path):
    write(tmp_path, "right.yaml", CAMERA_INFO)
    text = MANUAL.read_text().split("```yaml\n")[1].split("```")[0]
    rig = read_rig_yaml(write(tmp_path, "rig.yaml", text))
    assert rig.names == ("left", "right")
    # The manual says that this is a camera which looks along the rig's x axis.
    forward, right, down = rig["right"].rig_from_camera[:3, (2, 0, 1)].T
    np.testing.assert_allclose([forward, right, down], [[1, 0, 0], [0, -1, 0], [0, 0, -1]])


BAD = [
    (read_camera_info_yaml, CAMERA_INFO, "image_width: 640", "", "image_width: is missing"),
    (read_camera_info_yaml, CAMERA_INFO, "480", "high", "image_height: must be a whole number"),
    (read_camera_info_yaml, CAMERA_INFO, "480", "0", "image height of camera"),
    (read_camera_info_yaml, CAMERA_INFO, "438.783367", "0", "focal length fx is 0.0"),
    (
        read_camera_info_yaml,
        CAMERA_INFO,
        "438.783367",
        ".nan",
        "camera_matrix.data: must be finite",
    ),
    (read_camera_info_yaml, CAMERA_INFO, "438.783367, ", "", "camera_matrix.data: has 8 values"),
    (read_camera_info_yaml, CAMERA_INFO, "438.783367", "{}", "camera_matrix.data: must be numbers"),
    (read_camera_info_yaml, CAMERA_INFO, "plumb_bob", "magic", "distortion_model is 'magic'"),
    (read_camera_info_yaml, CAMERA_INFO, "camera_name: n", "camera_name: [n]\nx: n", "camera_name"),
    (read_camera_info_yaml, CAMERA_INFO, "image_width", "]", "not valid YAML"),
    (read_camera_info_yaml, CAMERA_INFO, CAMERA_INFO, "", "must be a mapping, is missing"),
    (read_camera_info_yaml, CAMERA_INFO, CAMERA_INFO, "[1, 2]", "must be a mapping, is list"),
    (read_camera_info_yaml, CAMERA_INFO, CAMERA_INFO, "[" * 5000, "not valid YAML"),
    (read_camera_info_yaml, CAMERA_INFO, "640", "!!python/object/apply:os.abort []", "not valid"),
    (read_kalibr_yaml, KALIBR, "cam0:", "camera:", "cam0: is missing"),
    (read_kalibr_yaml, KALIBR, "pinhole", "omni", "cam0.camera_model: is 'omni'; only pinhole"),
    (
        read_kalibr_yaml,
        KALIBR,
        "radtan",
        "fov",
        "cam0.distortion_model: is 'fov'; known are radtan",
    ),
    (read_kalibr_yaml, KALIBR, "1.8e-05]", "1, 2]", "cam0.distortion_coeffs: must have shape 4"),
    (read_kalibr_yaml, KALIBR, "458.6", "0", "cam0: intrinsics of camera 'stereo/left': focal"),
    (read_kalibr_yaml, KALIBR, "[752, 480]", "[752.5, 480]", "cam0.resolution: must be whole"),
    (read_kalibr_yaml, KALIBR, "T_cn_cnm1", "T_other", "cam1.T_cn_cnm1: is missing"),
    (read_kalibr_yaml, KALIBR, "[1.0, 0.0, 0.0, -0.11]", "[2, 0, 0, 0]", "cam1: rig_from_camera"),
    (read_opencv_yaml, OPENCV, "image_width: 1280\n", "", "image_width: is missing"),
    (read_opencv_yaml, OPENCV, "image_width: 1280", "image_width: a", "image_width: must be a wh"),
    (read_opencv_yaml, OPENCV, "camera_matrix", "camera", "camera_matrix: is missing"),
    (read_opencv_yaml, OPENCV, "900.", "0.", "focal length fx is 0.0"),
    (read_opencv_yaml, OPENCV, "rows: 5", "rows: 7", "distortion_coefficients.data: has 5 values"),
    (read_opencv_yaml, OPENCV, OPENCV, "hello", "must be a mapping, is str"),
    (read_opencv_yaml, OPENCV, OPENCV, "<a><b></a>", "not valid XML"),
    # OpenCV's own parser dies of this one.
    (
        read_opencv_yaml,
        OPENCV,
        "rows: 5\n   cols: 1\n   dt: d\n   data",
        "d*ata",
        "data: is missing",
    ),
    (read_opencv_yaml, OPENCV, OPENCV, "", "must be a mapping, is missing"),
]
RIG = EXAMPLE.read_text()
BAD += [
    (read_rig_yaml, RIG, "frame: rig ", "frames: rig ", "frames: is not known here"),
    (read_rig_yaml, RIG, "frame: rig ", "", "frame: is missing"),
    (read_rig_yaml, RIG, "    size", "    sizes", "cameras.middle.sizes: is not known here"),
    (read_rig_yaml, RIG, "[1280, 720]", "[1280]", "cameras.middle.size: must have shape 2"),
    (read_rig_yaml, RIG, "fx: 1012.4", "fx: 0", "cameras.middle: intrinsics of camera 'middle'"),
    (read_rig_yaml, RIG, "fx: 1012.4, ", "", "cameras.middle.intrinsics.fx: is missing"),
    (read_rig_yaml, RIG, "plumb_bob", "pinhole", "cameras.middle: distortion_model is 'pinhole'"),
    (read_rig_yaml, RIG, "  left:", "  middle:", "not valid YAML: .*twice"),
    (read_rig_yaml, RIG, "  left:", "  7:", "cameras.7: must be text"),
    (
        read_rig_yaml,
        RIG,
        "rpy",
        "quaternion_xyzw",
        "cameras.middle.pose.quaternion_xyzw: must have",
    ),
    (read_rig_yaml, RIG, "rpy", "euler", "cameras.middle.pose.euler: is not known here"),
    (read_rig_yaml, RIG, "-0.58112", "0.9", "quaternion_xyzw: must have norm 1, has 1.2"),
    (
        read_rig_yaml,
        RIG,
        "    pose",
        "    camera_info: a.yaml\n    pose",
        "cameras.middle.size: is g",
    ),
    (
        read_rig_yaml,
        "frame: a\ncameras: {}\n",
        "frame: a",
        "frame: b",
        "cameras: must hold at least one camera",
    ),
    (
        read_rig_yaml,
        "frame: a\ncameras: [1]\n",
        "frame: a",
        "frame: b",
        "cameras: must be a mapping",
    ),
]


@pytest.mark.parametrize(("read", "text", "old", "new", "said"), BAD)
def test_bad_files_are_named_with_the_field(tmp_path, read, text, old, new, said):
    assert old in text
    path = write(tmp_path, "bad.yaml", text.replace(old, new, 1))
    with pytest.raises(CameraFileError, match=rf"bad.yaml: .*{said}"):
        read(path)


@pytest.mark.parametrize(
    "read", [read_camera_info_yaml, read_kalibr_yaml, read_opencv_yaml, read_rig_yaml]
)
def test_files_that_are_not_text_or_not_there(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="missing"):
        read(tmp_path / "missing.yaml")
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(CameraFileError, match=r"binary.yaml"):
        read(tmp_path / "binary.yaml")


def test_what_a_format_cannot_hold_is_refused(tmp_path):
    skewed = intrinsics_matrix(500, 500, 320, 240)
    skewed[0, 1] = 3
    rig = Rig((Camera("a", 640, 480, skewed),))
    for write_rig in (write_kalibr_yaml, write_rig_yaml):
        with pytest.raises(ValueError, match="camera 'a' has skew"):
            write_rig(tmp_path / "rig.yaml", rig)
    rational = Lens("rational_polynomial", np.full(8, 0.1))
    rig = Rig((Camera("a", 640, 480, intrinsics_matrix(500, 500, 320, 240), rational),))
    with pytest.raises(ValueError, match="camera 'a': rational_polynomial with 8 coefficients"):
        write_kalibr_yaml(tmp_path / "rig.yaml", rig)
