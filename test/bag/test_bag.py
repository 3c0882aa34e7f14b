import dataclasses
import shutil

import numpy as np
import pytest
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from flowface_ros.bag.images import image_fields
from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.reader import Topic, open_bag
from flowface_ros.bag.storage_check import BagError
from flowface_ros.bag.writer import BagWriter

TYPES = message_types().types
SECOND = 1_000_000_000
PLACES = {"file.mcap": "mcap", "file.db3": "sqlite3", "mcap_folder": "mcap", "db3": "sqlite3"}


def make(name: str, **fields):
    """A message whose fields not given are zeros, empty strings and empty sequences."""
    cls = TYPES[name]
    for field in dataclasses.fields(cls):
        if field.default is dataclasses.MISSING:  # the others are the message's constants
            fields.setdefault(field.name, _default(str(field.type)))
    return cls(**fields)


def _default(kind: str):
    if "__" in kind and not kind.startswith("list"):
        return make(kind.replace("__", "/"))
    for name in ("float32", "float64", "uint8", "uint16", "uint32", "uint64"):
        if f"np.{name}" in kind:
            return np.zeros(0, name)
    return {"str": "", "int": 0, "float": 0.0, "bool": False}.get(kind, [])


def header(stamp_ns: int = 0, frame: str = "rig"):
    time = make("builtin_interfaces/msg/Time", sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND)
    return make("std_msgs/msg/Header", stamp=time, frame_id=frame)


def face(identifier: str = "f1"):
    three = np.array([1, 2, 3], np.float32)
    covariance = make(
        "geometry_msgs/msg/PoseWithCovariance", covariance=np.arange(36, dtype=np.float64)
    )
    return make(
        "flowface_ros/msg/Face",
        id=identifier,
        status=2,
        pose=covariance,
        confidence=0.5,
        expression=np.linspace(0, 1, 41, dtype=np.float32),
        neck=three,
        jaw=2 * three,
        left_eye=3 * three,
        right_eye=4 * three,
        views=["left", "right"],
        view_rmse_px=np.array([0.5, 0.25], np.float32),
    )


def messages() -> dict[str, object]:
    """One message of each kind that the package reads or writes, by topic."""
    numbers = np.arange(12, dtype=np.float32)
    info = make(
        "sensor_msgs/msg/CameraInfo",
        header=header(5),
        width=640,
        d=np.ones(5),
        k=np.arange(9.0),
        r=np.arange(9.0),
        p=np.arange(12.0),
    )
    transform = make(
        "geometry_msgs/msg/TransformStamped", header=header(7), child_frame_id="left_optical_frame"
    )
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    jpeg = np.arange(50, dtype=np.uint8)
    return {
        "/left/image_raw": make("sensor_msgs/msg/Image", header=header(1), **image_fields(picture)),
        "/left/image_raw/compressed": make(
            "sensor_msgs/msg/CompressedImage", header=header(2), format="jpeg", data=jpeg
        ),
        "/left/camera_info": info,
        "/tf": make("tf2_msgs/msg/TFMessage", transforms=[transform]),
        "/tf_static": make("tf2_msgs/msg/TFMessage", transforms=[transform, transform]),
        "/faces": make("flowface_ros/msg/FaceArray", header=header(8), faces=[face(), face("f2")]),
        "/meshes": make(
            "flowface_ros/msg/FaceMesh", id="f1", model_hash=2**64 - 1, vertices=numbers
        ),
        "/head_model": make(
            "flowface_ros/msg/HeadModel",
            triangles=np.arange(6, dtype=np.uint32),
            uv=numbers,
            shape_names=["a", "b"],
        ),
        "/alignment": make(
            "flowface_ros/msg/FaceAlignment",
            grid=32,
            pixels=numbers,
            camera_info=info,
            roi=np.arange(4, dtype=np.float32),
        ),
    }


def assert_same(actual, expected):
    """Equal field by field; the classes may come from different type stores."""
    if dataclasses.is_dataclass(expected):
        assert actual.__msgtype__ == expected.__msgtype__
        for field in dataclasses.fields(expected):
            assert_same(getattr(actual, field.name), getattr(expected, field.name))
    elif isinstance(expected, list):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(actual, expected)


def write_everything(path, storage):
    with BagWriter(path, storage) as bag:
        for second, (topic, content) in enumerate(messages().items()):
            latched = topic in ("/tf_static", "/head_model")
            bag.write(topic, content, second * SECOND, latched=latched)


@pytest.mark.parametrize(("name", "storage"), PLACES.items())
def test_every_kind_of_message_comes_back(tmp_path, name, storage):
    write_everything(tmp_path / name, storage)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    expected = messages()
    with open_bag(tmp_path / name) as bag:
        assert bag.topics["/faces"] == Topic("flowface_ros/msg/FaceArray", 1)
        assert bag.topics["/tf_static"] == Topic("tf2_msgs/msg/TFMessage", 1, latched=True)
        assert list(bag.topics) == sorted(expected)
        assert (bag.start_ns, bag.end_ns) == (0, (len(expected) - 1) * SECOND)
        assert bag.message_count == len(expected)
        read = list(bag.messages())
    assert [time for _, time, _ in read] == [second * SECOND for second in range(len(expected))]
    assert [topic for topic, _, _ in read] == list(expected)
    for topic, _, content in read:
        assert_same(content, expected[topic])


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_definitions_and_quality_of_service_are_in_the_file(tmp_path, suffix):
    """What `ros2 bag play` needs: it knows neither our types nor how a topic was published."""
    from rosbags.rosbag2 import Reader

    path = tmp_path / f"bag{suffix}"
    write_everything(path, PLACES[f"file{suffix}"])
    with Reader(path) as reader:
        connections = {c.topic: c for c in reader.connections}
    latched, plain = connections["/head_model"], connections["/faces"]
    assert plain.msgdef.format == MessageDefinitionFormat.MSG
    assert "MSG: flowface_ros/Face\n" in plain.msgdef.data
    assert latched.ext.offered_qos_profiles[0].durability.name == "TRANSIENT_LOCAL"
    assert plain.ext.offered_qos_profiles[0].durability.name == "VOLATILE"
    assert plain.ext.serialization_format == "cdr"


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_zstd_bags(tmp_path, plugin, mode):
    check_foreign_writer(tmp_path / "bag", plugin, mode)


def test_mcap_with_compressed_chunks(tmp_path):
    check_foreign_writer(tmp_path / "bag", StoragePlugin.MCAP, CompressionMode.STORAGE)
    with open_bag(tmp_path / "bag" / "bag.mcap") as bag:
        assert bag.message_count == 50


def check_foreign_writer(path, plugin, mode, version=9):
    mesh = messages()["/meshes"]
    writer = Writer(path, version=version, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        kind = mesh.__msgtype__
        connection = writer.add_connection("/meshes", kind, typestore=message_types())
        for step in range(50):
            data = message_types().serialize_cdr(mesh, kind)
            writer.write(connection, step, data)
    with open_bag(path) as bag:
        read = list(bag.messages())
    assert [time for _, time, _ in read] == list(range(50))
    assert_same(read[-1][2], mesh)


def test_topics_and_times_are_selected(tmp_path):
    path = tmp_path / "bag.mcap"
    with BagWriter(path) as bag:
        for step in (3, 0, 2, 1):
            for topic in ("/a", "/b"):
                bag.write(topic, header(step), step)
    with open_bag(path) as bag:
        assert [(topic, time) for topic, time, _ in bag.messages(["/b"], 1, 3)] == [
            ("/b", 1),
            ("/b", 2),
        ]
        assert [time for _, time, _ in bag.messages(["/a"])] == [0, 1, 2, 3]
        assert list(bag.messages([])) == []
        assert len(list(bag.messages())) == len(list(bag.messages())) == 8
        with pytest.raises(ValueError, match="has no topic /c; it has /a, /b"):
            bag.messages(["/a", "/c"])


def test_a_bag_is_read_with_the_definitions_that_it_was_recorded_with(tmp_path):
    old = get_typestore(Stores.EMPTY)
    old.register(get_types_from_msg("uint8 count\nstring[] names\n", "flowface_ros/msg/FaceMesh"))
    content = old.types["flowface_ros/msg/FaceMesh"](count=3, names=["x"])
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/m", content.__msgtype__, typestore=old)
        writer.write(connection, 0, old.serialize_cdr(content, content.__msgtype__))
    with open_bag(tmp_path / "bag") as bag:
        ((_, _, read),) = bag.messages()
    assert (read.count, read.names) == (3, ["x"])
    assert "vertices" in message_types().types["flowface_ros/msg/FaceMesh"].__dataclass_fields__


def test_a_bag_without_messages(tmp_path):
    with BagWriter(tmp_path / "bag.mcap"):
        pass
    with open_bag(tmp_path / "bag.mcap") as bag:
        assert (bag.topics, bag.message_count, bag.start_ns, bag.end_ns) == ({}, 0, 0, 0)
        assert list(bag.messages()) == []


@pytest.mark.parametrize("name", ["file.mcap", "file.db3"])
def test_a_truncated_file_is_named(tmp_path, name):
    path = tmp_path / name
    write_everything(path, PLACES[name])
    data = path.read_bytes()
    for size in [1, 5, 8, 9, 16, 30, 99, 120, *range(200, len(data), len(data) // 25)]:
        path.write_bytes(data[:size])
        with pytest.raises(BagError, match=f"{name}: the file is cut off"):
            open_bag(path)
    path.write_bytes(data[:-1])
    with pytest.raises(BagError, match=f"{name}: the file is cut off"):
        open_bag(path)


@pytest.mark.parametrize(("name", "storage"), [("mcap_folder", "mcap"), ("db3", "sqlite3")])
def test_a_truncated_file_in_a_directory_is_named(tmp_path, name, storage):
    write_everything(tmp_path / name, storage)
    (file,) = (tmp_path / name).glob(f"{name}.*")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(BagError, match=f"{file.name}: the file is cut off"):
        open_bag(tmp_path / name)
    file.unlink()
    with pytest.raises(BagError, match="missing"):
        open_bag(tmp_path / name)


@pytest.mark.parametrize("name", ["file.mcap", "file.db3"])
def test_damage_within_a_file_is_an_error_that_names_it(tmp_path, name):
    path = tmp_path / name
    write_everything(path, PLACES[name])
    data = bytearray(path.read_bytes())
    failures = 0
    for start in range(120, len(data) - 400, len(data) // 30):
        damaged = data.copy()
        damaged[start : start + 300] = b"\xff" * 300
        path.write_bytes(damaged)
        try:
            with open_bag(path) as bag:
                list(bag.messages())
        except BagError as error:
            assert str(path) in str(error)
            failures += 1
    assert failures > 5


def foreign(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.mcap", b"", "a.mcap: the file is empty"),
        ("a.db3", b"", "a.db3: the file is empty"),
        ("a.mcap", b"hello, this is text" * 20, "a.mcap: not an MCAP file"),
        ("a.db3", b"hello, this is text" * 20, "a.db3: not an SQLite file"),
        ("a.bag", b"#ROSBAG V2.0\n", "a.bag: a bag of ROS 1"),
        ("a.txt", b"hello", "a.txt: not a bag; a bag is a directory"),
        ("a.mcap", b"\x89MCAP0\r\n" * 20, "a.mcap: cannot be read as a bag"),
    ],
)
def test_foreign_files(tmp_path, name, data, said):
    with pytest.raises(BagError, match=said):
        open_bag(foreign(tmp_path, name, data))


def test_a_database_that_is_no_bag(tmp_path):
    import sqlite3

    connection = sqlite3.connect(tmp_path / "other.db3")
    connection.execute("CREATE TABLE persons(id INTEGER)")
    connection.commit()
    connection.close()
    with pytest.raises(BagError, match=r"other.db3: cannot be read as a bag: .*missing tables"):
        open_bag(tmp_path / "other.db3")


def test_missing_bags(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.mcap: no such bag"):
        open_bag(tmp_path / "nothing.mcap")
    with pytest.raises(BagError, match=r"without metadata.yaml"):
        open_bag(tmp_path)


@pytest.mark.parametrize("text", ["", "[", "a: 1", "rosbag2_bagfile_information: 3"])
def test_metadata_that_is_not_metadata(tmp_path, text):
    write_everything(tmp_path / "bag", "mcap")
    (tmp_path / "bag" / "metadata.yaml").write_text(text)
    with pytest.raises(BagError, match="bag: cannot be read as a bag"):
        open_bag(tmp_path / "bag")


def test_an_unknown_type_is_listed_and_fails_when_read(tmp_path):
    write_everything(tmp_path / "bag", "sqlite3")
    import sqlite3

    connection = sqlite3.connect(tmp_path / "bag" / "bag.db3")
    connection.execute("UPDATE topics SET type='other_msgs/msg/X' WHERE name='/tf'")
    connection.commit()
    connection.close()
    shutil.copy(tmp_path / "bag" / "bag.db3", tmp_path / "single.db3")
    with open_bag(tmp_path / "single.db3") as bag:
        assert bag.topics["/tf"].type == "other_msgs/msg/X"
        assert len(list(bag.messages(["/faces"]))) == 1
        with pytest.raises(BagError, match=r"single.db3: .* on /tf \(other_msgs/msg/X\)"):
            list(bag.messages(["/tf"]))


def test_nothing_is_left_behind_by_an_exception(tmp_path):
    for name, storage in PLACES.items():
        with pytest.raises(RuntimeError), BagWriter(tmp_path / name, storage) as bag:
            bag.write("/a", header(), 0)
            raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_the_writer_refuses(tmp_path):
    with pytest.raises(ValueError, match="storage is 'zip'; allowed are mcap, sqlite3"):
        BagWriter(tmp_path / "a", "zip")
    with pytest.raises(ValueError, match=r"a.mcap, but storage sqlite3 is .db3"):
        BagWriter(tmp_path / "a.mcap", "sqlite3")
    with BagWriter(tmp_path / "a.mcap") as bag:
        bag.write("/a", header(), 0)
        with pytest.raises(ValueError, match="topic /a has type std_msgs/msg/Header, the message"):
            bag.write("/a", face(), 0)
        wrong = make("flowface_ros/msg/FaceMesh", vertices=np.zeros(3))
        with pytest.raises(ValueError, match="message on /b does not fit flowface_ros/msg/FaceM"):
            bag.write("/b", wrong, 0)
    with (
        pytest.raises(FileExistsError, match=r"a.mcap: exists already"),
        BagWriter(tmp_path / "a.mcap"),
    ):
        pass
    assert open_bag(tmp_path / "a.mcap").message_count == 1


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b"])
def test_paths_with_special_characters(tmp_path, name):
    write_everything(tmp_path / f"{name}.mcap", "mcap")
    with open_bag(tmp_path / f"{name}.mcap") as bag:
        assert bag.message_count == len(messages())
    with pytest.raises(ValueError, match="SQLite bags need a path without"):
        write_everything(tmp_path / f"{name}.db3", "sqlite3")
    assert len(list(tmp_path.iterdir())) == 1
    write_everything(tmp_path / "plain.db3", "sqlite3")
    (tmp_path / "plain.db3").rename(tmp_path / f"{name}.db3")
    with pytest.raises(BagError, match="SQLite bags need a path without"):
        open_bag(tmp_path / f"{name}.db3")


def test_tf_message_has_the_official_type_hash():
    assert message_types().hash_rihs01("tf2_msgs/msg/TFMessage") == (
        "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"
    )
