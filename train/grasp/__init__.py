# SPDX-License-Identifier: Apache-2.0
"""Closed-loop benchmark: rendered picture, estimated poses, planned grasp, simulated lift."""
