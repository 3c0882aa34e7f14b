"""Messages of other threads into a view, the newest first to be kept."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from threading import Condition, Event
from typing import Any

from flowface_ros.view.layout import layout
from flowface_ros.view.scene import Lookup, Scene, SceneOptions
from flowface_ros.view.sdk import send
from flowface_ros.view.topics import ViewTopics, find_view_topics, missing_topics

_WAITING = 8
"""Most messages of a topic that wait; more only come when the view is slower than its topics."""
_POLL_S = 0.2
_SEND_S = 0.05
"""After so long the server must have what was logged: while it has not, newer messages take the
place of those that wait here."""


class Inbox:
    """Messages in the order in which they came; of each topic only the newest few."""

    def __init__(self, most: int = _WAITING) -> None:
        self._most = most
        self._messages: deque[tuple[str, Any]] = deque()
        self._counts: Counter[str] = Counter()
        self._condition = Condition()
        self.dropped: Counter[str] = Counter()
        """Messages that newer ones took the place of, by topic."""

    def put(self, topic: str, message: Any) -> None:
        """Add a message; never waits."""
        with self._condition:
            if self._counts[topic] >= self._most:
                oldest = next(i for i, (name, _) in enumerate(self._messages) if name == topic)
                del self._messages[oldest]
                self.dropped[topic] += 1
            else:
                self._counts[topic] += 1
            self._messages.append((topic, message))
            self._condition.notify()

    def get(self, timeout_s: float) -> tuple[str, Any] | None:
        """The message that came first, None when there is none after the timeout."""
        with self._condition:
            if not self._condition.wait_for(lambda: self._messages, timeout_s):
                return None
            topic, message = self._messages.popleft()
            self._counts[topic] -= 1
            return topic, message


class LiveView:
    """Shows topics that may appear at any time.

    `find` and `put` are for the thread that receives; `run` is for a thread of its own.
    """

    def __init__(
        self,
        recording: Any,
        lookup: Lookup,
        options: SceneOptions,
        namespace: str | None = None,
        cameras: Sequence[str] = (),
    ) -> None:
        self._recording, self._namespace, self._cameras = recording, namespace, cameras
        self._scene = Scene(recording, lookup, options)
        self._inbox = Inbox()
        self._topics = ViewTopics()
        self._shown: tuple[list[str], bool] | None = None

    def find(self, types: Mapping[str, str]) -> ViewTopics:
        """What is shown of the topics that there are now."""
        return find_view_topics(types, self._namespace, self._cameras)

    def missing(self, topics: ViewTopics) -> str:
        """What was asked for and is not there yet."""
        return missing_topics(topics, self._namespace, self._cameras)

    def put(self, topics: ViewTopics, topic: str, message: Any) -> None:
        """Take a message that one of the topics brought."""
        self._topics = topics
        self._inbox.put(topic, message)

    def run(self, stop: Event, say: Callable[[str], None] = print) -> None:
        """Show what comes until `stop` is set or the viewer's server is gone.

        say: gets what could not be used, once each.
        """
        try:
            self._run(stop, say)
        except OSError as error:
            say(str(error))

    def _run(self, stop: Event, say: Callable[[str], None]) -> None:
        used, complained, sent_s = ViewTopics(), set[str](), 0.0
        while not stop.is_set():
            entry = self._inbox.get(_POLL_S)
            if entry is None:
                continue
            if self._topics != used:
                used = self._topics
                self._scene.use_topics(used)
            self._scene.take(*entry)
            self._lay_out()
            if time.monotonic() - sent_s > _SEND_S:
                send(self._recording, lambda: not stop.is_set())
                sent_s = time.monotonic()
            for what, reason in self._scene.reasons.items():
                if what not in complained:
                    complained.add(what)
                    say(f"not all of {what} can be shown: {reason}")

    def _lay_out(self) -> None:
        """Anew when there are more cameras, and when the first head shows where to look from."""
        placed = self._shown is not None and self._shown[1]
        eye = None if placed else self._scene.eye
        now = self._scene.cameras, placed or eye is not None
        if now != self._shown:
            self._shown = now
            self._recording.send_blueprint(layout(now[0], live=True, eye=eye or self._scene.eye))
