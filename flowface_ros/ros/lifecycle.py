"""What the three nodes have in common: states, parameters, clock, counters, the worker thread."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from flowface_ros.compilation import announced_compilation
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head, read_head
from flowface_ros.ros.collector import JUMP_S, Arrival, SetCollector
from flowface_ros.ros.counters import Drops, Rate, StageTimes
from flowface_ros.ros.diagnostics import ERROR, WARN, DiagnosticsOutput, Report
from flowface_ros.ros.guard import Guard
from flowface_ros.ros.memory import forget_destroyed
from flowface_ros.ros.parameters import changed, declare
from flowface_ros.ros.qos_watch import QosWatch
from flowface_ros.ros.settings import NodeSettings
from flowface_ros.ros.synchronizer import FrameSet
from flowface_ros.ros.transforms import TransformListener
from flowface_ros.ros.view_reader import CameraPlacer
from flowface_ros.ros.worker import Worker

S = TypeVar("S", bound=NodeSettings)

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_DIAGNOSTICS_S = 1.0
_HOUSEKEEPING_S = 0.1


class SetNode(LifecycleNode, Generic[S]):
    """A lifecycle node whose worker thread answers sets of messages.

    Derived nodes say what to do when (`_configure`, ... , `_on_set`); here are the rules: a
    transition that fails says why and leaves the state as it was, an exception is counted and
    survived, parameters are checked as a whole.
    """

    settings_type: ClassVar[type]

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.drops, self.times, self.answered = Drops(), StageTimes(), Rate()
        self.guard = Guard(self, self.drops)
        self.settings: S = declare(self, self.settings_type)
        self.failure = ""
        """Why the node is not active though it should be; for diagnostics."""
        self.active = False
        self._model: HeadModel | None = None
        self._collector = SetCollector(self.settings.cameras, self.settings.synchronizer)
        self._worker = Worker(self._collector, self._answer, self._on_jump, self._on_failure)
        self._give_up = ""
        self._transforms: TransformListener | None = None
        self._placer: CameraPlacer | None = None
        self._diagnostics, self._qos = DiagnosticsOutput(self), QosWatch(self)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self.guard(self._apply_parameters))
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_DIAGNOSTICS_S, self.guard(self._report), clock=steady)
        self.create_timer(_HOUSEKEEPING_S, self.guard(self._housekeep), clock=steady)
        back = Duration(nanoseconds=-int(JUMP_S * 1e9))
        threshold = JumpThreshold(min_forward=None, min_backward=back, on_clock_change=False)
        self._jump_handle = self.get_clock().create_jump_callback(
            threshold, post_callback=self.guard(self._on_clock_jump)
        )

    # What derived nodes do.

    @abstractmethod
    def _configure(self, model: HeadModel) -> None:
        """Make publishers and services."""

    @abstractmethod
    def _activate(self, model: HeadModel) -> None:
        """Make the core and subscribe to inputs."""

    @abstractmethod
    def _deactivate(self) -> None:
        """Undo `_activate`; the worker has ended."""

    @abstractmethod
    def _cleanup(self) -> None:
        """Undo `_configure`."""

    @abstractmethod
    def _unsubscribe(self) -> None:
        """Stop the inputs."""

    @abstractmethod
    def _on_set(self, frames: FrameSet[Arrival]) -> None:
        """Answer a set (worker thread)."""

    @abstractmethod
    def _on_jump(self) -> None:
        """Forget what is of the time before a jump (worker thread)."""

    @abstractmethod
    def _forget_inputs(self) -> None:
        """The same for what callbacks fill (executor's thread)."""

    @abstractmethod
    def _reports(self, summary: Report) -> list[Report]:
        """Complete the node's own report; those of its parts."""

    @property
    def device(self) -> str:
        """What the node's networks run on."""
        return "cpu"

    # Life cycle.

    def start(self) -> bool:
        """Configure and activate; whether the node is active now."""
        return self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS

    def finish(self) -> None:
        """Stop everything, as before the program ends."""
        self._transition("shut down", self._do_shutdown)

    def destroy_node(self) -> None:
        """Also the life cycle's services, which rclpy leaves to the garbage collector. One that is
        half destroyed keeps clients from ever finding the next node's service of that name."""
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("configure", self._do_configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("activate", self._do_activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("deactivate", self._do_deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("clean up", self._do_cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("shut down", self._do_shutdown)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("recover", self._do_shutdown)

    def _transition(self, verb: str, work: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            work()
        except Exception as error:
            self.failure = f"cannot {verb}: {error}"
            self.get_logger().error(self.failure)
            if not isinstance(error, (ValueError, OSError, RuntimeError)):
                self.guard.log_exception(verb, error)
            return FAILURE
        finally:
            forget_destroyed(self)
        return SUCCESS

    def _do_configure(self) -> None:
        file = self.settings.head_file
        self._model = read_head(Path(file).expanduser()) if file else load_builtin_head()
        self._transforms = TransformListener(self, self.drops, self.guard)
        self._placer = CameraPlacer(self._transforms, self.drops, self.guard)
        try:
            self._configure(self._model)
        except Exception:
            self._do_cleanup()
            raise
        self.failure = ""

    def _do_activate(self) -> None:
        assert self._model is not None
        self._give_up = ""
        self._collector.reset()
        try:
            with announced_compilation(self.get_logger().info):
                self._activate(self._model)
        except Exception:
            self._unsubscribe()
            raise
        self._worker.resume()
        self.active, self.failure = True, ""
        self.get_logger().info(f"active, on {self.device}")

    def _do_deactivate(self) -> None:
        self.active = False
        self._unsubscribe()
        self._worker.pause()
        self._collector.reset()
        self._deactivate()

    def _do_cleanup(self) -> None:
        if self._model is None:
            return
        self._cleanup()
        assert self._transforms is not None
        self._transforms.destroy(self)
        self._model = self._transforms = self._placer = None

    def _do_shutdown(self) -> None:
        if self.active:
            self._do_deactivate()
        self._worker.stop()
        self._do_cleanup()

    # Parameters.

    def _check_parameters(self, parameters: list[Any]) -> SetParametersResult:
        try:
            changed(self.settings, parameters)
        except (ValueError, TypeError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply_parameters(self, parameters: list[Any]) -> None:
        self.settings = changed(self.settings, parameters)
        self._collector.configure(self.settings.synchronizer)

    # Messages and time.

    def _take(self, camera: str, stamp_ns: int, message: Any) -> None:
        """A message of one camera (executor's thread)."""
        if self._waits_for_clock():
            self.drops.add("no_clock", camera)
            return
        if self._collector.add(camera, stamp_ns, message):
            self._jumped(f"camera {camera!r} is at {stamp_ns * 1e-9:.3f}")

    def _waits_for_clock(self) -> bool:
        clock = self.get_clock()
        return clock.ros_time_is_active and clock.now().nanoseconds == 0

    def _on_clock_jump(self, jump: TimeJump) -> None:
        now_ns = self.get_clock().now().nanoseconds
        self._collector.jump(now_ns)
        self._jumped(f"/clock is at {now_ns * 1e-9:.3f}")

    def _jumped(self, where: str) -> None:
        self.guard.warn("jump", f"time jumped back: {where}; forgetting everybody")
        if self._transforms is not None:
            self._transforms.forget_moving()
        self._forget_inputs()

    # The worker.

    def _answer(self, frames: FrameSet[Arrival]) -> None:
        if self._give_up:
            self.drops.add("inactive")
            return
        with self.times.measure("total"):
            self._on_set(frames)

    def _on_failure(self, error: Exception) -> None:
        self.drops.add("exception")
        self.guard.log_exception("the worker", error)

    def _deactivate_soon(self, reason: str) -> None:
        """End being active, for a reason that the worker found."""
        self._give_up = reason

    def _housekeep(self) -> None:
        if self._give_up and self.active:
            reason = self._give_up
            self.trigger_deactivate()
            self.failure = reason
            self.get_logger().error(f"inactive now: {reason}")

    # Diagnostics.

    def set_drops(self) -> dict[str, int]:
        """Released sets without an answer, by cause."""
        return self.dropped("")

    def dropped(self, what: str) -> dict[str, int]:
        """What was dropped of a camera, or sets (""), by cause."""
        counts = self.drops.of(what)
        for (name, cause), count in self._collector.drops().items():
            if name == what:
                counts[cause] = counts.get(cause, 0) + count
        return counts

    def _report(self) -> None:
        summary = Report(self.get_name())
        state = self._state_machine.current_state[1]
        summary.note(ERROR, self.failure)
        if self._waits_for_clock():
            text = "use_sim_time is set and nothing is on /clock yet"
            summary.note(WARN, text)
            self.guard.warn("clock", f"{text}; waiting")
        self._qos.report(summary, self.guard)
        summary.values |= {"state": state, "device": self.device}
        summary.values |= {
            "sets": self._collector.released,
            "answers": self.answered.total,
            "answers per second": self.answered.per_second(),
        }
        summary.counts("dropped sets:", self.set_drops())
        for stage, (median, high) in self.times.percentiles_ms().items():
            summary.values[f"{stage} p50 ms"] = median
            summary.values[f"{stage} p95 ms"] = high
        self._diagnostics.publish([summary, *self._reports(summary)], self.device)
