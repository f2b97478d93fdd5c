# SPDX-License-Identifier: Apache-2.0
"""Long runs and random messages for the node in its own process: the parts of the soak and fuzz commands."""
