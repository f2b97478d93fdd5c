# SPDX-License-Identifier: Apache-2.0
"""Subscribe to the node's detections and print position, size and uncertainty.

ros2 launch seqpose_ros seqpose.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info
python examples/ros_subscriber.py
"""

import argparse
import math

import rclpy
from rclpy.node import Node
from vision_msgs.msg import Detection3DArray


class DetectionPrinter(Node):
    """Prints every array of detections it receives."""

    def __init__(self, topic: str) -> None:
        super().__init__("detection_printer")
        self.received = 0
        self.create_subscription(Detection3DArray, topic, self._print, 10)

    def _print(self, message: Detection3DArray) -> None:
        self.received += 1
        stamp = message.header.stamp
        print(f"{stamp.sec}.{stamp.nanosec:09d} in {message.header.frame_id}:", flush=True)
        for detection in message.detections:
            result = detection.results[0]
            position, covariance = result.pose.pose.position, result.pose.covariance
            deviation = 100 * math.sqrt(covariance[0] + covariance[7] + covariance[14])
            print(
                f"  {result.hypothesis.class_id} {result.hypothesis.score:.2f} track {detection.id or '-'} at "
                f"({position.x:+.3f}, {position.y:+.3f}, {position.z:+.3f}) m ± {deviation:.1f} cm",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the node's detections.")
    parser.add_argument("--topic", default="/seqpose_node/detections")
    parser.add_argument("--count", type=int, default=0, help="stop after this many messages; 0: never")
    options, ros_arguments = parser.parse_known_args()

    rclpy.init(args=ros_arguments)
    node = DetectionPrinter(options.topic)
    try:
        while rclpy.ok() and (not options.count or node.received < options.count):
            rclpy.spin_once(node, timeout_sec=0.5)
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
