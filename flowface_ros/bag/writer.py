"""Writes rosbag2 that `ros2 bag play` and `rosbags` open, message definitions included."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.storage_check import check_sqlite_path

_SUFFIXES = {"mcap": ".mcap", "sqlite3": ".db3"}
_PLUGINS = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}

_FORMAT_VERSION: Final = 8
"""The newest that every ROS 2 from Humble on plays; 9 writes QoS values that Humble refuses."""

_FILE_NAME = "bag"
"""What a single file says its name is. Readers go by the real one; so files of equal messages are
equal, whatever they are called."""

_INFINITE = QosTime(9223372036, 854775807)
_DEPTH = 10


class BagWriter:
    """A bag being written; use it in a `with` statement.

    path: with the suffix .mcap or .db3 a single file, which `ros2 bag play` takes as it is;
        without one of them a bag directory with metadata.yaml.
    storage: "mcap" or "sqlite3".

    Equal messages in equal order give equal bytes, in a directory of the same name too: nothing
    tells when or where they were written.
    The bag appears under its name when it is complete: an exception inside the `with` statement
    leaves nothing behind. Raises FileExistsError if the path exists, ValueError for another storage
    or one that does not go with the suffix.
    """

    def __init__(self, path: str | Path, storage: str = "mcap") -> None:
        self.path = Path(path)
        if storage not in _SUFFIXES:
            raise ValueError(f"storage is {storage!r}; allowed are {', '.join(_SUFFIXES)}")
        suffix = self.path.suffix
        if suffix in _SUFFIXES.values() and suffix != _SUFFIXES[storage]:
            raise ValueError(f"path is {self.path}, but storage {storage} is {_SUFFIXES[storage]}")
        self._storage = storage
        self._single_file = suffix == _SUFFIXES[storage]
        self._connections: dict[str, Connection] = {}
        self._types = message_types()

    def __enter__(self) -> BagWriter:
        if self.path.exists():
            raise FileExistsError(f"{self.path}: exists already, not overwritten")
        parent = self.path.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        if self._storage == "sqlite3":
            check_sqlite_path(self.path.absolute())
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=parent))
        name = _FILE_NAME if self._single_file else self.path.name
        self._writer = Writer(
            self._folder / name, version=_FORMAT_VERSION, storage_plugin=_PLUGINS[self._storage]
        )
        try:
            self._writer.open()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def write(self, topic: str, message: Any, stamp_ns: int, *, latched: bool = False) -> None:
        """Append a message of a type of `message_types()`.

        stamp_ns: time of the recording, nanoseconds; messages need not come in its order.
        latched: play the topic back with transient local durability, as for /tf_static; the
            topic's first message decides.
        Raises ValueError that names the topic for a message of another type than the topic's and
        for fields that do not fit the type.
        """
        kind = message.__msgtype__
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._writer.add_connection(
                topic, kind, typestore=self._types, offered_qos_profiles=[_qos(latched)]
            )
            self._connections[topic] = connection
        if connection.msgtype != kind:
            raise ValueError(f"topic {topic} has type {connection.msgtype}, the message is {kind}")
        try:
            data = self._types.serialize_cdr(message, kind)
        except Exception as error:
            raise ValueError(f"message on {topic} does not fit {kind}: {error}") from error
        self._writer.write(connection, int(stamp_ns), data)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._writer.__exit__(kind, error, trace)
            if kind is None:
                self._publish()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _publish(self) -> None:
        written = self._writer.path
        if self._single_file:
            written = written / f"{written.name}{_SUFFIXES[self._storage]}"
        written.rename(self.path)


def _qos(latched: bool) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else _DEPTH,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_INFINITE,
        lifespan=_INFINITE,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_INFINITE,
        avoid_ros_namespace_conventions=False,
    )
