# SPDX-License-Identifier: Apache-2.0
"""Training data, rendering, training, evaluation and ablations of SeqPose; needs the extra ``train``."""
