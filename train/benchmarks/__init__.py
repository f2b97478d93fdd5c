# SPDX-License-Identifier: Apache-2.0
"""Timings of data loading and of the metrics, and a second implementation of the NOCS protocol."""
