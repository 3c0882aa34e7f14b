"""The rclpy message classes behind their names, for the code that fills messages of any kind."""

from __future__ import annotations

from array import array
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ARRAY_CODES = {"float32": "f", "float64": "d", "uint8": "B", "uint32": "I", "int32": "i"}


class RclpyTypes:
    """Looks up message classes and makes numeric sequences that their setters take as they are."""

    def __getitem__(self, name: str) -> Any:
        """The class of a message type such as "geometry_msgs/msg/Pose".

        Raises ValueError when no installed package defines it.
        """
        try:
            package, folder, message = name.split("/")
            return getattr(import_module(f"{package}.{folder}"), message)
        except (ValueError, ImportError, AttributeError) as error:
            raise ValueError(f"message type {name!r} is not installed here: {error}") from error

    @staticmethod
    def sequence(values: NDArray) -> array:
        """An unbounded numeric sequence. rclpy's setters check an ndarray entry by entry, which
        takes a thousand times as long as copying it into an `array.array`."""
        values = np.ascontiguousarray(values)
        result = array(_ARRAY_CODES[values.dtype.name])
        result.frombytes(values.reshape(-1).view(np.uint8).data)
        return result
