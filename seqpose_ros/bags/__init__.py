# SPDX-License-Identifier: Apache-2.0
"""Recorded bags: reading, replay over DDS, scoring, and video."""
