# SPDX-License-Identifier: Apache-2.0
"""The grasp node: ranked grasps of the selected object."""
