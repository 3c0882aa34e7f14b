"""Reads any rosbag2: MCAP and SQLite, plain or zstd-compressed, directory or single file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinitionFormat,
    QosDurability,
)
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.storage_check import BagError, check_storage_file, storage_files

_IDL_SEPARATOR = "=" * 80 + "\nIDL: "


@dataclass(frozen=True)
class Topic:
    """A topic of a bag.

    type: e.g. "sensor_msgs/msg/Image".
    count: messages.
    latched: recorded with transient local durability, as /tf_static is.
    """

    type: str
    count: int
    latched: bool = False


def open_bag(path: str | Path) -> BagReader:
    """Open a bag: a directory with metadata.yaml, or a single .mcap or .db3 file.

    Raises FileNotFoundError if it is not there and BagError, a ValueError that names the file, if
    it is empty, truncated or no bag.
    """
    return BagReader(path)


class BagReader:
    """An open bag; close it, or use it in a `with` statement."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        _check(self.path)
        try:
            self._reader = Reader(self.path)
            self._reader.open()
        except Exception as error:
            raise BagError(f"{self.path}: cannot be read as a bag: {_reason(error)}") from error
        self._types = _types_of(self._reader.connections)
        self.topics: dict[str, Topic] = _topics(self._reader.connections)
        self.types = {name: topic.type for name, topic in self.topics.items() if topic.count}
        """Of the topics that have messages."""
        self.message_count = self._reader.message_count
        empty = self.message_count == 0
        self.start_ns = 0 if empty else self._reader.start_time
        """Time of the first message."""
        self.end_ns = 0 if empty else self._reader.end_time - 1
        """Time of the last message."""

    def messages(
        self,
        topics: Collection[str] | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> Iterator[tuple[str, int, Any]]:
        """Topic, time (ns) and message of each message, in the order of time.

        topics: only these; all when None. start, end: nanoseconds, start <= time < end. The time
        is that of the recording; an image's own stamp is in its header. Messages are dataclasses
        with the fields of the ROS message, sequences of numbers as numpy arrays.

        Raises ValueError for a topic that the bag lacks and, while iterating, BagError for data
        that cannot be read.
        """
        return self._decoded(self.serialized(topics, start, end))

    def _decoded(self, records: Iterator[tuple[str, int, bytes]]) -> Iterator[tuple[str, int, Any]]:
        for topic, time_ns, data in records:
            kind = self.topics[topic].type
            try:
                message = self._types.deserialize_cdr(data, kind)
            except Exception as error:
                raise self._damaged(error, f" on {topic} ({kind}) at {time_ns} ns") from error
            yield topic, time_ns, message

    def serialized(
        self,
        topics: Collection[str] | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> Iterator[tuple[str, int, bytes]]:
        """As `messages`, but each message as the CDR bytes that the bag holds."""
        if topics is not None and (unknown := sorted(set(topics) - set(self.topics))):
            raise ValueError(
                f"{self.path} has no topic {', '.join(unknown)}; it has {', '.join(self.topics)}"
            )
        chosen = [c for c in self._reader.connections if topics is None or c.topic in topics]
        return self._read(chosen, start, end)

    def _read(
        self, connections: list[Connection], start: int | None, end: int | None
    ) -> Iterator[tuple[str, int, bytes]]:
        if not connections:
            return
        records = self._reader.messages(connections, start, end)
        while True:
            try:
                connection, time_ns, data = next(records)
            except StopIteration:
                return
            except Exception as error:
                raise self._damaged(error) from error
            yield connection.topic, time_ns, data

    def _damaged(self, error: Exception, where: str = "") -> BagError:
        return BagError(f"{self.path}: damaged data{where}: {_reason(error)}")

    def close(self) -> None:
        """Close the files."""
        if self._reader.is_open:
            self._reader.close()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such bag")
    if path.is_dir() and not (path / "metadata.yaml").exists():
        raise BagError(
            f"{path}: a directory without metadata.yaml; if a recording was cut off, "
            "`ros2 bag reindex` writes it"
        )
    for file in storage_files(path):
        check_storage_file(file)


def _reason(error: Exception) -> str:
    text = str(error) or "unexpected end of data"
    return f"{text} ({type(error).__name__})"


def _topics(connections: list[Connection]) -> dict[str, Topic]:
    topics: dict[str, Topic] = {}
    for connection in sorted(connections, key=lambda c: c.topic):
        before = topics.get(connection.topic, Topic(connection.msgtype, 0))
        extension = cast("ConnectionExtRosbag2", connection.ext)
        latched = any(
            profile.durability == QosDurability.TRANSIENT_LOCAL
            for profile in extension.offered_qos_profiles
        )
        topics[connection.topic] = Topic(
            before.type, before.count + connection.msgcount, before.latched or latched
        )
    return topics


def _types_of(connections: list[Connection]) -> Typestore:
    """Types to read the bag with: its own definitions come first, as it was recorded with them."""
    known = message_types()
    recorded: dict[str, Any] = {}
    for connection in connections:
        recorded.update(_definitions(connection))
    if all(known.fielddefs.get(name) == fields for name, fields in recorded.items()):
        return known
    store = get_typestore(Stores.EMPTY)
    store.register({**known.fielddefs, **recorded})
    return store


def _definitions(connection: Connection) -> dict[str, Any]:
    """Types that the bag defines for a connection; none if it does not or they do not parse.

    A type that is then unknown matters only when a message of it is read.
    """
    text = connection.msgdef.data
    types: dict[str, Any] = {}
    try:
        if connection.msgdef.format == MessageDefinitionFormat.MSG:
            types.update(get_types_from_msg(text, connection.msgtype))
        elif connection.msgdef.format == MessageDefinitionFormat.IDL:
            for part in text.split(_IDL_SEPARATOR):
                # Each part after a separator begins with the name of its type.
                body = part.split("\n", 1)[-1] if _IDL_SEPARATOR in text else part
                types.update(get_types_from_idl(body) if body.strip() else {})
    except Exception:
        return {}
    return types
