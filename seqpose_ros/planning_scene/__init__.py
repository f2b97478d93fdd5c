# SPDX-License-Identifier: Apache-2.0
"""The planning scene node: detected objects as collision objects of MoveIt."""
