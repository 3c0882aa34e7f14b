"""Coordinate frames over time: a small tf2 buffer, for static and moving transforms."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation, Slerp

from flowface_ros.rigid import inverse, transform

Array = NDArray[np.float64]

_NS = 1_000_000_000
_WHOLE_RECORDING_S = 1e8
"""Three years."""


class TransformError(ValueError):
    """A transform cannot be given; the message names both frames and says why."""


class FutureTransformError(TransformError):
    """The stamp is later, by `late_s`, than the newest transform: asking again may succeed."""

    def __init__(self, text: str, late_s: float) -> None:
        super().__init__(text)
        self.late_s = late_s


class _Moving:
    """Transforms of one child frame to its parent over time, oldest first."""

    def __init__(self, parent: str) -> None:
        self.parent = parent
        self.stamps_ns: deque[int] = deque()
        self.matrices: deque[Array] = deque()
        self.restarted = False

    def add(self, stamp_ns: int, matrix: Array, keep_ns: int, jump_ns: int) -> bool:
        if self.stamps_ns and stamp_ns < self.stamps_ns[-1] - jump_ns:
            self.stamps_ns.clear()
            self.matrices.clear()
            self.restarted = True
        if self.stamps_ns and stamp_ns <= self.stamps_ns[-1]:
            index = bisect_left(self.stamps_ns, stamp_ns)
            if self.stamps_ns[index] == stamp_ns:
                return False
            self.stamps_ns.insert(index, stamp_ns)
            self.matrices.insert(index, matrix)
            return True
        self.stamps_ns.append(stamp_ns)
        self.matrices.append(matrix)
        while self.stamps_ns[0] < stamp_ns - keep_ns:
            self.stamps_ns.popleft()
            self.matrices.popleft()
        return True

    def at(self, stamp_ns: int) -> Array:
        index = bisect_left(self.stamps_ns, stamp_ns)
        if index == len(self.stamps_ns):
            late_s = (stamp_ns - self.stamps_ns[-1]) / _NS
            text = f"the newest one is {late_s:.3f} s older than the stamp"
            raise FutureTransformError(text, late_s)
        if self.stamps_ns[index] == stamp_ns:
            return self.matrices[index]
        if index == 0:
            early_s = (self.stamps_ns[0] - stamp_ns) / _NS
            raise TransformError(f"the oldest one is {early_s:.3f} s newer than the stamp")
        begin, end = self.stamps_ns[index - 1], self.stamps_ns[index]
        share = (stamp_ns - begin) / (end - begin)
        return _between(self.matrices[index - 1], self.matrices[index], share)


class TransformBuffer:
    """The tree of frames. `a_from_b` matrices (4, 4) map points of b into a; stamps in ns.

    keep_s: how much of the past moving transforms are kept for, seconds.
    jump_s: a stamp that is older than its frame's newest by more than this begins the frame's
        history anew: time jumped back, as when a bag loops.
    """

    def __init__(self, keep_s: float = 10.0, jump_s: float = 0.5) -> None:
        self._keep_ns, self._jump_ns = int(keep_s * _NS), int(jump_s * _NS)
        self._static: dict[str, tuple[str, Array]] = {}
        self._moving: dict[str, _Moving] = {}

    def set_static(self, parent: str, child: str, parent_from_child: ArrayLike) -> None:
        """A transform that holds at any time, as on /tf_static."""
        self._static[_clean(child)] = (_clean(parent), _checked(parent, child, parent_from_child))
        self._moving.pop(_clean(child), None)

    def add(self, parent: str, child: str, parent_from_child: ArrayLike, stamp_ns: int) -> bool:
        """A transform at one moment, as on /tf; False when it is too old or there already.

        Raises TransformError for a matrix that is not finite.
        """
        matrix = _checked(parent, child, parent_from_child)
        child, parent = _clean(child), _clean(parent)
        moving = self._moving.get(child)
        if moving is None or moving.parent != parent:
            self._forget_dead(stamp_ns)
            moving = self._moving[child] = _Moving(parent)
            self._static.pop(child, None)
        return moving.add(stamp_ns, matrix, self._keep_ns, self._jump_ns)

    def lookup(self, target: str, source: str, stamp_ns: int) -> Array:
        """target_from_source (4, 4) at a stamp, interpolated between the two next to it.

        Raises FutureTransformError when the stamp is in the future of a transform on the way, and
        TransformError when a frame is unknown, the two are not connected or the stamp is too old.
        """
        target, source = _clean(target), _clean(source)
        if target == source:
            return np.eye(4)
        from_target, from_source = self._ancestors(target), self._ancestors(source)
        common = next((frame for frame in from_source if frame in from_target), None)
        if common is None:
            raise TransformError(self._why_unconnected(target, source))
        try:
            common_from_source = self._compose(source, common, stamp_ns)
            common_from_target = self._compose(target, common, stamp_ns)
        except FutureTransformError as error:
            text = f"no transform from {source!r} to {target!r}: {error}"
            raise FutureTransformError(text, error.late_s) from None
        except TransformError as error:
            raise TransformError(f"no transform from {source!r} to {target!r}: {error}") from None
        return inverse(common_from_target) @ common_from_source

    def forget_moving(self) -> None:
        """Drop moving transforms, as after a jump of time.

        Static ones stay, and those whose own stamps have jumped since: they are of the new time.
        """
        self._moving = {child: moving for child, moving in self._moving.items() if moving.restarted}
        for moving in self._moving.values():
            moving.restarted = False

    def _forget_dead(self, now_ns: int) -> None:
        """Frames come and go, as those of people do: drop those that ended long ago."""
        oldest_ns = now_ns - self._keep_ns
        for child in [c for c, m in self._moving.items() if m.stamps_ns[-1] < oldest_ns]:
            del self._moving[child]

    def _parent(self, frame: str) -> str | None:
        if frame in self._moving:
            return self._moving[frame].parent
        return self._static[frame][0] if frame in self._static else None

    def _ancestors(self, frame: str) -> list[str]:
        chain = [frame]
        while (parent := self._parent(chain[-1])) is not None:
            if parent in chain:
                raise TransformError(f"frames {' -> '.join([*chain, parent])} form a loop")
            chain.append(parent)
        return chain

    def _compose(self, frame: str, ancestor: str, stamp_ns: int) -> Array:
        matrix = np.eye(4)
        while frame != ancestor:
            if frame in self._moving:
                moving = self._moving[frame]
                frame, step = moving.parent, moving.at(stamp_ns)
            else:
                frame, step = self._static[frame]
            matrix = step @ matrix
        return matrix

    def _why_unconnected(self, target: str, source: str) -> str:
        known = set(self._static) | set(self._moving)
        known |= {parent for parent, _ in self._static.values()}
        known |= {moving.parent for moving in self._moving.values()}
        unknown = [repr(frame) for frame in (source, target) if frame not in known]
        reason = f"{' and '.join(unknown)} unknown" if unknown else "they are not connected"
        return f"no transform from {source!r} to {target!r}: {reason}"


def _clean(frame: str) -> str:
    """Frame names as tf2 has them: a leading slash, as ROS 1 wrote it, is dropped."""
    return frame.removeprefix("/")


def _checked(parent: str, child: str, matrix: ArrayLike) -> Array:
    result = np.array(matrix, np.float64)
    if result.shape != (4, 4) or not np.isfinite(result).all():
        raise TransformError(f"transform from {child!r} to {parent!r} is not a finite 4x4 matrix")
    return result


def _between(first: Array, second: Array, share: float) -> Array:
    """Straight line for the position, constant angular velocity for the rotation."""
    rotations = Slerp([0.0, 1.0], Rotation.from_matrix([first[:3, :3], second[:3, :3]]))
    position = (1 - share) * first[:3, 3] + share * second[:3, 3]
    return transform(rotations(share).as_matrix(), position)


def recording_buffer() -> TransformBuffer:
    """A buffer that forgets nothing, for a whole recording."""
    return TransformBuffer(keep_s=_WHOLE_RECORDING_S)
