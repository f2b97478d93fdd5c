# SPDX-License-Identifier: Apache-2.0
"""Engines that run the step of a network: torch, OpenVINO, ONNX Runtime. All run the same StepGraph."""
