# SPDX-License-Identifier: Apache-2.0
"""SeqPose as a ROS 2 node, and the evaluation of bags. The model and the geometry are in `seqpose_core`."""

import pkgutil

# The generated messages (`seqpose_ros.msg`) are installed into the ROS prefix; this source may be in a checkout.
# extend_path merges the two folders into one package.
__path__ = pkgutil.extend_path(__path__, __name__)
