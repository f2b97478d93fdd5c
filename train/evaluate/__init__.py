# SPDX-License-Identifier: Apache-2.0
"""Evaluate a checkpoint, or result files of other methods, on a data set."""
