"""Says what is wrong with a bag's storage file before anything tries to read it."""

from __future__ import annotations

from pathlib import Path

_MCAP_MAGIC = b"\x89MCAP0\r\n"
_SQLITE_MAGIC = b"SQLite format 3\x00"
_ROS1_MAGIC = b"#ROSBAG V"
_SQLITE_HEADER_BYTES = 100

_URI_CHARACTERS = "#?%"
"""rosbags opens SQLite by a URI that it does not quote: with these it would open another file."""

STORAGE_SUFFIXES = (".mcap", ".db3")


class BagError(ValueError):
    """A bag that cannot be read: names the file and what is wrong with it."""


def storage_files(path: Path) -> list[Path]:
    """The uncompressed storage files of a bag: the path itself or those in the directory."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in STORAGE_SUFFIXES)


def check_storage_file(path: Path) -> None:
    """Raise BagError if the file is empty, foreign or cut off, as its ends show."""
    size = path.stat().st_size
    if size == 0:
        raise BagError(f"{path}: the file is empty")
    with path.open("rb") as file:
        head = file.read(_SQLITE_HEADER_BYTES)
        file.seek(max(0, size - len(_MCAP_MAGIC)))
        tail = file.read()
    if head.startswith(_ROS1_MAGIC):
        raise BagError(f"{path}: a bag of ROS 1; convert it with `rosbags-convert`")
    if path.suffix == ".mcap":
        _check_mcap(path, head, tail)
    elif path.suffix == ".db3":
        check_sqlite_path(path)
        _check_sqlite(path, head, size)
    else:
        raise BagError(
            f"{path}: not a bag; a bag is a directory with metadata.yaml, a .mcap or a .db3 file"
        )


def check_sqlite_path(path: Path) -> None:
    """Raise BagError for a path at which SQLite storage cannot be opened."""
    if any(character in str(path) for character in _URI_CHARACTERS):
        raise BagError(f"{path}: SQLite bags need a path without {' '.join(_URI_CHARACTERS)}")


def _check_mcap(path: Path, head: bytes, tail: bytes) -> None:
    if not head.startswith(_MCAP_MAGIC[: len(head)]):
        raise BagError(f"{path}: not an MCAP file (it begins with {head[:8]!r})")
    if tail != _MCAP_MAGIC or len(head) <= len(_MCAP_MAGIC):
        raise BagError(
            f"{path}: the file is cut off, its index at the end is missing; "
            "`mcap recover` may save what is there"
        )


def _check_sqlite(path: Path, head: bytes, size: int) -> None:
    if not head.startswith(_SQLITE_MAGIC[: len(head)]):
        raise BagError(f"{path}: not an SQLite file (it begins with {head[:8]!r})")
    # https://www.sqlite.org/fileformat.html: page size at byte 16 (1 means 65536), pages at 28.
    page_bytes = int.from_bytes(head[16:18], "big")
    expected = (65536 if page_bytes == 1 else page_bytes) * int.from_bytes(head[28:32], "big")
    expected = max(expected, _SQLITE_HEADER_BYTES)
    if size < expected:
        raise BagError(f"{path}: the file is cut off: {size} of {expected} bytes are there")
