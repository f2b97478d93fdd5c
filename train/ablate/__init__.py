# SPDX-License-Identifier: Apache-2.0
"""Ablation tables: each row is trained, scored and written next to the paper's figures."""
