# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: it subscribes to one camera, runs the estimator in a worker thread, and publishes objects.

Resources by state: unconfigured, the publishers; inactive, also the model, and the /tf listener if a frame parameter is
set; active, also the worker thread and the subscriptions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidNamespaceException, NotInitializedException, ParameterException
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.utilities import remove_ros_args
from std_srvs.srv import Trigger

from seqpose_core import threads
from seqpose_core.weights import CheckpointError
from seqpose_ros import parameters
from seqpose_ros.allocator import use_one_arena
from seqpose_ros.diagnostics import NodeDiagnostics
from seqpose_ros.lifecycle import ResponsiveLifecycleNode, spin_until_finished
from seqpose_ros.load import EstimatorLoader, load_estimator
from seqpose_ros.log_messages import core_messages_in
from seqpose_ros.parameters import Settings
from seqpose_ros.pipeline import Estimator
from seqpose_ros.problems import ERROR, STALE, WARN
from seqpose_ros.publishers import Publishers
from seqpose_ros.stream import CameraStream
from seqpose_ros.subscriptions import SubscriptionError
from seqpose_ros.transforms import TransformLookup

_DESCRIPTION = (
    "9-DoF object poses from a camera stream. Options are ROS arguments, for example: "
    "--ros-args -p checkpoint:=seqpose-lite2 -r image:=/camera/image_raw -r camera_info:=/camera/camera_info"
)
EXIT_TIMEOUT = 3.0  # seconds that a signal waits for a transition to end; launch kills the process after 5
NO_IMAGE_TIMEOUT = 2.0  # seconds without images until the node reports what it waits for
DIAGNOSTICS_PERIOD = 1.0  # seconds between two messages on /diagnostics


class SeqPoseNode(ResponsiveLifecycleNode):
    """Estimates object poses in the images of one camera.

    :param load: creates the estimator from the settings, on configuration.
    :param tf_prefix: used while the parameter of this name is empty.
    :raises ValueError, rclpy.exceptions.ParameterException: an invalid parameter value was given at start.
    """

    def __init__(
        self, load: Callable[[Settings], Estimator] = load_estimator, tf_prefix: str = "", **node_options: Any
    ) -> None:
        super().__init__("seqpose_node", **node_options)
        for name, guess in parameters.declare(self).items():
            self.get_logger().warning(f"there is no parameter {name!r}; did you mean {guess!r}?")
        self.settings = parameters.read_settings(self)
        self._load = load
        # Two functions: rclpy raises if one source line logs with different severities.
        self._diagnostics = NodeDiagnostics(self._log_warning, self._log_error)
        self._outputs = Publishers(self, tf_prefix)
        self._transforms: TransformLookup | None = None
        self._estimator: Estimator | None = None
        self._stream: CameraStream | None = None  # while active
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self.create_service(Trigger, "~/reset", self._on_reset)
        # A steady clock: diagnostics are published also while simulated time is paused.
        clock, group = Clock(clock_type=ClockType.STEADY_TIME), MutuallyExclusiveCallbackGroup()
        self.create_timer(DIAGNOSTICS_PERIOD, self._publish_diagnostics, group, clock=clock)

    # Lifecycle ----------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, and subscribe to /tf if a frame parameter is set. Fails if the model cannot be loaded."""
        try:
            with core_messages_in(self.get_logger()):
                self._estimator = self._load(self.settings)
        except CheckpointError as error:
            self.get_logger().error(f"checkpoint {self.settings.checkpoint!r} could not be loaded: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy discards exceptions of a transition callback: log it here
            options = ", ".join(f"{name} {value}" for name, value in self._engine().items())
            self.get_logger().error(f"the estimator could not be created with {options}: {error}")
            return TransitionCallbackReturn.FAILURE
        if self.settings.tf_frames:
            self._transforms = TransformLookup(self)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe to the camera. Memory and tracks start empty.

        Fails if a topic cannot be subscribed to, for example because of its remapping or QoS override.
        """
        assert self._estimator is not None
        result = super().on_activate(state)
        self._diagnostics.start()
        self._publish_label_info()
        try:
            self._stream = CameraStream(
                self, self._estimator, self.settings, self._outputs, self._transforms, self._diagnostics
            )
        except SubscriptionError as error:
            self.get_logger().error(f"the node cannot be activated: {error}")
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE
        self._stream.pipeline.apply_settings(self.settings)  # they may have changed meanwhile
        self.get_logger().info("active: " + ", ".join(f"{name} {value}" for name, value in self._engine().items()))
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and clear memory and tracks."""
        self._stop()
        if self._estimator is not None:
            self._estimator.reset()
        self._outputs.selection.reset()
        self._outputs.clear_markers()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and unsubscribe from /tf."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free all resources, from any state."""
        self._stop()
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free all resources after a fault in a transition; the node becomes unconfigured."""
        self._stop()
        self._release()
        super().on_deactivate(state)
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Stop the worker before its publishers are destroyed."""
        self._stop()
        super().destroy_node()

    def _stop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _release(self) -> None:
        if self._transforms is not None:
            self._transforms.close()
        self._transforms, self._estimator = None, None
        self._outputs.forget_tracks()

    # Services, parameters, diagnostics ----------------------------------------------------------------------

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        stream = self._stream
        if stream is None:
            response.message = "the node is not active: there is nothing to reset"
            return response
        stream.pipeline.reset()
        self._outputs.selection.reset()
        response.success, response.message = True, "memory and tracks cleared"
        return response

    def _on_set_parameters(self, given: Sequence[Parameter]) -> SetParametersResult:
        reason = parameters.find_removed(given) or parameters.find_invalid(given)
        if reason is not None:
            return SetParametersResult(successful=False, reason=reason)
        settings = parameters.update_settings(self.settings, given)
        reason = parameters.find_unknown_categories(settings)
        if reason is not None:
            return SetParametersResult(successful=False, reason=reason)
        if settings != self.settings:
            self.settings = settings
            stream = self._stream
            if stream is not None:
                stream.pipeline.apply_settings(settings)
                self._publish_label_info()
        return SetParametersResult(successful=True)

    def _publish_label_info(self) -> None:
        estimator = self._estimator
        if estimator is None:  # freed by a transition in another thread
            return
        stamp = self.get_clock().now().to_msg()
        chosen = parameters.estimator_options(self.settings).score_threshold
        self._outputs.publish_label_info(stamp, estimator.categories, chosen)

    def _log_warning(self, text: str) -> None:
        self.get_logger().warning(text)

    def _log_error(self, text: str) -> None:
        self.get_logger().error(text)

    def _engine(self) -> dict[str, str]:
        names = ("checkpoint", "device", "runtime", "precision", "threads")
        values = {name: str(getattr(self.settings, name)) for name in names}
        estimator = self._estimator
        if estimator is not None:
            values["runtime"] = estimator.runtime  # the parameter can be default or auto
        return values | {"openmp_waiting": threads.wait_policy()}

    def _memory(self) -> dict[str, int]:
        estimator = self._estimator  # read once: a transition in another thread may free it
        return {} if estimator is None else {"memory_queries": estimator.memory_queries}

    def _publish_diagnostics(self) -> None:
        stream = self._stream
        if stream is not None:
            self._report_missing_images(stream)
            self._report_while("shared_topics", stream.inputs.explain_shared_topics(), WARN)
            self._report_second_node()
        support = {} if stream is None else stream.pipeline.support
        facts = {
            "state": self.state_label,
            **self._engine(),
            **self._memory(),
            **support,
            **self._outputs.subscription_counts(),
        }
        name = f"{self.get_fully_qualified_name().lstrip('/')}: stream"
        self._outputs.diagnostics.publish(
            self._diagnostics.message(name, self.get_clock().now().to_msg(), stream is not None, facts)
        )

    def _report_missing_images(self, stream: CameraStream) -> None:
        missing = self._diagnostics.seconds_since_image() >= NO_IMAGE_TIMEOUT
        self._report_while("no_images", stream.inputs.explain_missing_messages() if missing else "", STALE)

    def _report_second_node(self) -> None:
        """Two nodes of one name publish on the same topics and answer the same services."""
        name = (self.get_name(), self.get_namespace())
        count = self.get_node_names_and_namespaces().count(name)
        text = f"{count} nodes have the name {self.get_fully_qualified_name()}; remap __node or __ns of the others"
        self._report_while("node_name", text if count > 1 else "", ERROR)

    def _report_while(self, kind: str, text: str, level: bytes) -> None:
        """Report a problem that lasts until ``text`` is empty."""
        if text:
            self._diagnostics.report_problem(kind, text, level, lasting=True)
        else:
            self._diagnostics.resolve(kind)


def camera_node(load: Callable[[Settings], Estimator], namespace: str, **node_options: Any) -> SeqPoseNode:
    """The node of one of several cameras. Its tf names begin with its namespace, because all cameras share /tf."""
    prefix = "".join(f"{part}_" for part in namespace.split("/") if part)
    return SeqPoseNode(load, prefix, namespace=namespace, **node_options)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until shutdown; ``autostart`` configures and activates it first.

    :return: exit status: 0 after a signal or the shutdown transition, 1 if a parameter is invalid or autostart fails.
        Invalid command-line arguments exit with status 2.
    """
    use_one_arena()
    arguments = sys.argv if args is None else ["seqpose_node", *args]
    parser = argparse.ArgumentParser("seqpose_node", description=_DESCRIPTION)
    help_text = "namespaces of several cameras: one node in each, in one process and with one copy of the weights"
    parser.add_argument("--cameras", nargs="+", default=[], metavar="NAMESPACE", help=help_text)
    initialized = False
    try:
        options = parser.parse_args(remove_ros_args(list(arguments))[1:])
        rclpy.init(args=list(arguments))
        initialized = True
        load = EstimatorLoader()
        nodes = [camera_node(load, name) for name in options.cameras] or [SeqPoseNode()]
    except (KeyboardInterrupt, NotInitializedException):  # a signal shut ROS down
        rclpy.try_shutdown()
        return 0
    except (RuntimeError, InvalidNamespaceException) as error:  # RCLInvalidROSArgsError and UnknownROSArgsError
        if initialized and not rclpy.ok():  # RCLError, after a signal
            return 0
        rclpy.try_shutdown()
        parser.error(str(error))
    except (ParameterException, ValueError) as error:
        rclpy.logging.get_logger("seqpose_node").fatal(f"bad parameter: {error}")
        rclpy.try_shutdown()
        return 1
    return spin_until_finished(nodes, [node for node in nodes if node.settings.autostart], EXIT_TIMEOUT)


if __name__ == "__main__":
    sys.exit(main())
