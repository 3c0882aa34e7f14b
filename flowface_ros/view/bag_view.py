"""Bags, one beside the other, into a view."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from flowface_ros.bag.evaluation_input import Transforms, read_transforms
from flowface_ros.bag.reader import BagReader, open_bag
from flowface_ros.view.layout import layout
from flowface_ros.view.scene import Scene, SceneOptions
from flowface_ros.view.sdk import send
from flowface_ros.view.topics import ViewTopics, find_view_topics, missing_topics

_NS = 1_000_000_000
_SENT_TOGETHER = 50
"""Messages."""

Progress = Callable[[Iterable[Any], int], Iterable[Any]]
"""Wraps an iteration, given its length."""


class BagView:
    """The bags of a `with` statement; a topic that is in several is shown from all of them.

    transforms: empty, is filled from all of them. See `find_view_topics` for namespace and cameras.
    Raises OSError and ValueError that name the bag that cannot be read or what it lacks.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        transforms: Transforms,
        namespace: str | None = None,
        cameras: Sequence[str] = (),
    ) -> None:
        self._stack = ExitStack()
        self._transforms = transforms
        with ExitStack() as stack:
            self._bags = [stack.enter_context(open_bag(path)) for path in paths]
            types = {name: kind for bag in self._bags for name, kind in bag.types.items()}
            self.topics: ViewTopics = find_view_topics(types, namespace, cameras)
            if missing := missing_topics(self.topics, namespace, cameras):
                raise ValueError(f"{', '.join(map(str, paths))}: {missing}")
            for bag in self._bags:
                read_transforms(bag, transforms)
            self._stack = stack.pop_all()

    def __enter__(self) -> BagView:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def log(
        self,
        recording: Any,
        options: SceneOptions,
        start_s: float = 0.0,
        end_s: float | None = None,
        progress: Progress | None = None,
    ) -> Scene:
        """Log what happened from start_s to end_s, seconds since the first message."""
        scene = Scene(recording, self._transforms.lookup, options)
        scene.use_topics(self.topics)
        first = min((bag.start_ns for bag in self._bags if bag.message_count), default=0)
        start = first + int(start_s * _NS)
        end = None if end_s is None else first + int(end_s * _NS)
        messages: Iterable[Any] = self._messages(start, end)
        if progress:
            messages = progress(messages, self._count())
        laid_out = False
        for index, (topic, _, message) in enumerate(messages):
            scene.take(topic, message)
            if not laid_out and (scene.eye is not None or not self.topics.faces):
                laid_out = True
                self._lay_out(recording, scene)
            if index % _SENT_TOGETHER == 0:
                send(recording)
        if not laid_out:
            self._lay_out(recording, scene)
        send(recording)
        return scene

    def _lay_out(self, recording: Any, scene: Scene) -> None:
        recording.send_blueprint(layout(self.topics.cameras, live=False, eye=scene.eye))

    def _messages(self, start: int, end: int | None) -> Iterator[tuple[str, int, Any]]:
        """In the order of time; at the same time in the order of the bags."""
        once = [self.topics.head_model] if self.topics.head_model else []
        for bag in self._bags:
            yield from bag.messages(_present(bag, once))
        names = [name for name in self.topics.names if name not in once]
        streams = [bag.messages(_present(bag, names), start, end) for bag in self._bags]
        yield from heapq.merge(*streams, key=lambda entry: entry[1])

    def _count(self) -> int:
        names = self.topics.names
        return sum(bag.topics[name].count for bag in self._bags for name in _present(bag, names))


def _present(bag: BagReader, names: Iterable[str]) -> list[str]:
    return [name for name in names if name in bag.topics]
