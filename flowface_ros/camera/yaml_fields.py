"""Reading YAML files with errors that name the file and the field."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

Array = NDArray[np.float64]


class CameraFileError(ValueError):
    """A calibration file that cannot be used: names the file and the field."""

    def __init__(self, path: Path, field: str, problem: object) -> None:
        where = f"{path}: {field}" if field else str(path)
        super().__init__(f"{where}: {problem}")


class Fields:
    """A mapping in a YAML file that knows where it stands."""

    def __init__(self, path: Path, values: Any, name: str = "") -> None:
        if not isinstance(values, dict):
            raise CameraFileError(path, name, f"must be a mapping, is {_kind(values)}")
        self.path = path
        self.values: dict[Any, Any] = values
        self.name = name

    def error(self, key: object, problem: object) -> CameraFileError:
        """The error to raise about a key of this mapping."""
        return CameraFileError(self.path, self.label(key), problem)

    def label(self, key: object) -> str:
        """Full name of a key, e.g. cameras.left.size."""
        return f"{self.name}.{key}" if self.name else str(key)

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def get(self, key: str) -> Any:
        """The value of a key that must be there."""
        if key not in self:
            raise self.error(key, "is missing")
        return self.values[key]

    def section(self, key: str) -> Fields:
        """A mapping within this one."""
        return Fields(self.path, self.get(key), self.label(key))

    def text(self, key: str) -> str:
        """A string; an empty one is allowed."""
        value = self.get(key)
        if not isinstance(value, str):
            raise self.error(key, f"must be text, is {_kind(value)}")
        return value

    def integer(self, key: str) -> int:
        """A whole number."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"must be a whole number, is {_kind(value)}")
        return value

    def numbers(self, key: str, *shape: int | None) -> Array:
        """Finite numbers of the given shape; None allows any length along an axis."""
        value = self.get(key)
        try:
            # YAML 1.1 takes 1e-5 (no dot) for text, and many writers leave the dot out.
            array = np.array(value, dtype=np.float64)
        except (ValueError, TypeError):
            raise self.error(key, f"must be numbers, is {value!r}") from None
        fits = array.ndim == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
        )
        if not fits:
            allowed = "x".join("n" if size is None else str(size) for size in shape) or "one number"
            raise self.error(key, f"must have shape {allowed}, has {array.shape}")
        if not np.isfinite(array).all():
            raise self.error(key, f"must be finite, is {value!r}")
        return array

    def size(self, key: str) -> tuple[int, int]:
        """[width, height], whole numbers."""
        width, height = self.numbers(key, 2)
        if int(width) != width or int(height) != height:
            raise self.error(key, f"must be whole numbers, is {self.values[key]}")
        return int(width), int(height)

    def matrix(self, key: str) -> Array:
        """The numbers (n,) of a {rows, cols, data} entry, row-major."""
        section = self.section(key)
        data = section.numbers("data", None)
        if "rows" in section and "cols" in section:
            rows, columns = section.integer("rows"), section.integer("cols")
            if rows * columns != len(data):
                problem = f"has {len(data)} values; rows x cols is {rows}x{columns}"
                raise section.error("data", problem)
        return data

    def only(self, *keys: str) -> None:
        """Raise if there are other keys: most likely a spelling mistake."""
        for key in self.values:
            if key not in keys:
                raise self.error(key, f"is not known here; known are {', '.join(keys)}")


def load_yaml(path: str | Path) -> Fields:
    """The mapping in a YAML file.

    Raises OSError if the file cannot be read and CameraFileError if it is not YAML.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CameraFileError(path, "", f"not valid YAML: {error}") from None
    return Fields(path, parse_yaml(path, text))


def parse_yaml(path: Path, text: str) -> Any:
    """What YAML text of a file says; CameraFileError if it is not YAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CameraFileError(path, "", f"not valid YAML: {error}") from None


def dump_yaml(path: str | Path, document: dict[str, Any], comment: str = "") -> None:
    """Write a mapping; lists of numbers stand on one line. comment: first lines, with their #."""
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100)
    Path(path).write_text(comment + text, encoding="utf-8")


@contextmanager
def naming(path: Path, field: str) -> Iterator[None]:
    """Let ValueErrors of what is built from a file's values name the file and the field."""
    try:
        yield
    except CameraFileError:
        raise
    except ValueError as error:
        raise CameraFileError(path, field, error) from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping; PyYAML would take the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice} is given twice")
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _flow_list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    nested = any(isinstance(value, (list, dict)) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=not nested)


_Dumper.add_representer(list, _flow_list)


def _opencv(loader: _Loader, kind: str, node: yaml.Node) -> Any:
    """OpenCV's matrices are mappings with a tag of their own."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    raise yaml.constructor.ConstructorError(None, None, f"opencv-{kind} is not a mapping")


_Loader.add_multi_constructor("tag:yaml.org,2002:opencv-", _opencv)


def _kind(value: object) -> str:
    return "missing" if value is None else f"{type(value).__name__} {str(value)[:60]!r}"
