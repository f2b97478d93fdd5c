# SPDX-License-Identifier: Apache-2.0
"""Readiness of data, weights and machine for a training run."""
