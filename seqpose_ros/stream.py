# SPDX-License-Identifier: Apache-2.0
"""What an active node has: subscriptions of one camera, the wait for tf, and the worker that processes the images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from rclpy.node import Node

from seqpose_ros.depth import DepthInput
from seqpose_ros.diagnostics import NodeDiagnostics
from seqpose_ros.inputs import CameraInputs
from seqpose_ros.mailbox import Worker
from seqpose_ros.parameters import Settings
from seqpose_ros.pipeline import Estimator, ImageWithInfo, Pipeline
from seqpose_ros.publishers import Publishers
from seqpose_ros.transform_wait import TransformWait
from seqpose_ros.transforms import TransformLookup

RELEASE_INTERVAL = 0.02  # seconds that the worker has to take an image before another that waited for tf replaces it


class CameraStream:
    """The images of one camera, from the subscription to the outputs, until :meth:`close`.

    :param transforms: None if no frame parameter is set.
    :raises seqpose_ros.subscriptions.SubscriptionError: a topic cannot be subscribed to.
    """

    def __init__(
        self,
        node: Node,
        estimator: Estimator,
        settings: Settings,
        outputs: Publishers,
        transforms: TransformLookup | None,
        diagnostics: NodeDiagnostics,
    ) -> None:
        with ExitStack() as stack:
            depth = DepthInput(node) if settings.use_depth else None
            if depth is not None:
                stack.callback(depth.close)
            self.pipeline = Pipeline(
                estimator,
                settings,
                outputs,
                transforms,
                diagnostics,
                now=lambda: node.get_clock().now().nanoseconds * 1e-9,
                depth=depth,
            )
            on_image = _start_worker(stack, self.pipeline, transforms, diagnostics)
            self.inputs = CameraInputs(node, settings, diagnostics, on_image)
            stack.callback(self.inputs.close)
            self._resources = stack.pop_all()

    def close(self) -> None:
        """Unsubscribe, and end the worker after its current image."""
        self._resources.close()


def _start_worker(
    stack: ExitStack, pipeline: Pipeline, transforms: TransformLookup | None, diagnostics: NodeDiagnostics
) -> Callable[[ImageWithInfo], None]:
    """Start the threads that process images and that wait for tf; ``stack`` ends them.

    :return: passes an image to them; it does not block.
    """
    worker = Worker(pipeline.process, "seqpose_inference")
    stack.callback(worker.stop)

    def deliver(item: ImageWithInfo) -> None:
        if worker.mailbox.put(item):
            diagnostics.image_dropped()

    def deliver_one_of_several(item: ImageWithInfo) -> None:
        """As one transform can release several images, the previous one is taken first."""
        worker.mailbox.wait_until_taken(RELEASE_INTERVAL)
        deliver(item)

    if transforms is None:
        return deliver
    frames = pipeline.settings.tf_frames
    wait = TransformWait(transforms, frames, lambda: pipeline.settings.tf_timeout, deliver_one_of_several)
    stack.callback(wait.stop)
    return wait.put
