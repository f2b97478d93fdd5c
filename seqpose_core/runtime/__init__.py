# SPDX-License-Identifier: Apache-2.0
"""Engines that run one step of the network: torch, OpenVINO, ONNX Runtime. All run the same StepGraph."""
