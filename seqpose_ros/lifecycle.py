# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node that refuses impossible transitions, stays responsive during a transition, and ends after shutdown.

rclpy raises from the change_state service if the current state does not allow the transition, which ends the process.
Lifecycle managers send such requests, for example ``configure`` to a node that has configured itself.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.task import Future

from seqpose_ros.errors import quote

#: Threads of the executor: one may run a transition and one may wait for the current step; one is left for services.
EXECUTOR_THREADS = 3
TransitionCallback = Callable[[LifecycleState], TransitionCallbackReturn]
_EXIT_DELAY = 0.3  # seconds between the shutdown transition and the exit, to send the response of the service


class ResponsiveLifecycleNode(LifecycleNodeMixin, Node):
    """A lifecycle node for a MultiThreadedExecutor with :data:`EXECUTOR_THREADS` threads.

    A transition that the current state does not allow, or that is requested during another transition, is answered with
    ``success: false``. ``get_state`` is answered during a transition.
    """

    def __init__(self, node_name: str, **node_options: Any) -> None:
        Node.__init__(self, node_name, **node_options)
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        #: Completes with the exit status after the shutdown transition or a failed autostart.
        self.finished: Future = Future()
        self._transition_lock = threading.Lock()
        self._exit_requested = False
        self._change_state = self._service_change_state.callback  # rclpy's own callback, which may raise
        self._service_change_state.callback = self._on_change_state
        self._callbacks = {state: self._log_exceptions(callback) for state, callback in self._callbacks.items()}

    @property
    def state_label(self) -> str:
        """Name of the current state, for example ``inactive`` or ``configuring``."""
        return str(self._state_machine.current_state[1])

    def start_automatically(self) -> None:
        """Configure and activate as soon as the executor spins; if that fails, :attr:`finished` gets exit status 1."""
        self._call_once(0.0, self._autostart)

    def wait_for_transition(self, timeout: float) -> bool:
        """Wait until no transition is in progress. Returns False after ``timeout`` seconds."""
        if not self._transition_lock.acquire(timeout=timeout):
            return False
        self._transition_lock.release()
        return True

    def _log_exceptions(self, callback: TransitionCallback) -> TransitionCallback:
        """A transition callback whose exceptions are logged: rclpy discards them."""

        def call(state: LifecycleState) -> TransitionCallbackReturn:
            try:
                return callback(state)
            except Exception:
                self.get_logger().error(f"fault while {self.state_label}:\n{traceback.format_exc()}")
                raise

        return call

    def _autostart(self) -> None:
        with self._transition_lock:
            for trigger in (self.trigger_configure, self.trigger_activate):
                try:
                    result = trigger()
                except RuntimeError as error:  # rclpy's RCLError
                    self.get_logger().warning(
                        f"autostart stopped: the state was changed to {self.state_label} ({error})"
                    )
                    return
                if result != TransitionCallbackReturn.SUCCESS:
                    self._finish(1)
                    return

    def _on_change_state(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        name = quote(request.transition.label) if request.transition.label else f"with id {request.transition.id}"
        response.success = False
        if not self._transition_lock.acquire(blocking=False):
            self.get_logger().warning(f"transition {name} refused: the node is {self.state_label}")
            return response
        try:
            response = self._change_state(request, response)
        except RuntimeError:  # rclpy's RCLError
            response.success = False
            self.get_logger().warning(f"transition {name} refused: the node is {self.state_label}")
        finally:
            self._transition_lock.release()
        if self._state_machine.current_state[0] == State.PRIMARY_STATE_FINALIZED:
            self._finish(0)
        return response

    def _finish(self, exit_status: int) -> None:
        if not self._exit_requested:
            self._exit_requested = True
            self._call_once(_EXIT_DELAY, lambda: self.finished.set_result(exit_status))

    def _call_once(self, delay: float, function: Any) -> None:
        """Call a function in a separate callback group after ``delay`` seconds of wall time."""

        def call() -> None:
            timer.cancel()
            function()

        clock = Clock(clock_type=ClockType.STEADY_TIME)
        timer = self.create_timer(delay, call, MutuallyExclusiveCallbackGroup(), clock=clock)


def spin_until_finished(
    nodes: Sequence[ResponsiveLifecycleNode], starting: Sequence[ResponsiveLifecycleNode], exit_timeout: float
) -> int:
    """Spin the nodes until a signal, or until all have finished; returns the exit status.

    :param starting: nodes that are configured and activated first.
    :param exit_timeout: seconds that a signal waits for a transition to end.
    """
    executor = MultiThreadedExecutor(EXECUTOR_THREADS * len(nodes))
    for node in nodes:
        executor.add_node(node)
    try:
        for node in starting:
            node.start_automatically()
        # Not rclpy's spin_until_future_complete, which adds a callback to the future for every executed callback (rclpy
        # issue 1371): 7 MB per minute at 30 images per second.
        for node in nodes:
            node.finished.add_done_callback(lambda future: executor.wake())
        while rclpy.ok() and not all(node.finished.done() for node in nodes):
            try:
                executor.spin_once()
            except InvalidHandle:
                # Another thread destroyed a subscription (on deactivate) while rclpy collected what to wait for. rclpy
                # handles this for subscriptions, but not for their QoS events. The next call collects again.
                continue
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:
        # RCLError: a signal may invalidate the context after spin has checked it and before it waits.
        if rclpy.ok():
            raise
    finally:
        executor.shutdown()
        for node in nodes:
            if not node.wait_for_transition(exit_timeout):
                os._exit(0)  # the thread that loads or compiles the model cannot be interrupted
            node.destroy_node()
        rclpy.try_shutdown()
    return max((node.finished.result() for node in nodes if node.finished.done()), default=0)
