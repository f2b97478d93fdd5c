# SPDX-License-Identifier: Apache-2.0
"""Measures of accuracy (the NOCS protocol), of box overlap and of stability over time."""
