# SPDX-License-Identifier: Apache-2.0
"""The live page of a running node, and the page of a recorded run."""
