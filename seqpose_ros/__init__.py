# SPDX-License-Identifier: Apache-2.0
"""SeqPose as a ROS 2 node: messages, frames, node, bag replay. The mathematics is in `seqpose_core`."""

import pkgutil

# The generated messages (`seqpose_ros.msg`) are installed into the ROS prefix, while this source may be in a
# checkout: with both on sys.path, one package is made of the two folders.
__path__ = pkgutil.extend_path(__path__, __name__)
