# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_core.benchmark``: time of a step per runtime, relative to stock Depth Anything V2 Small."""
