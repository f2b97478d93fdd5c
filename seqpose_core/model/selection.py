# SPDX-License-Identifier: Apache-2.0
"""Selection of queries by score, with the same result in every runtime."""

from __future__ import annotations

import torch
from torch import Tensor


def top_k_indices(score: Tensor, count: int) -> Tensor:
    """Indices (B, K) of the ``count`` highest scores (B, N): those above the K-th highest, then those equal to it.

    Which of equal scores ``topk`` returns depends on implementation and K. Here it is the one with the lower index:
    the K-th highest score is the threshold, and a second ``topk`` runs on keys that are all different.
    """
    if count == 0:
        return score.new_zeros(len(score), 0, dtype=torch.int64)
    threshold = score.topk(count, dim=1).values[:, -1:]
    size = score.shape[1]
    # Integers below 2^24, which float32 represents exactly.
    above, equal = (score > threshold).float(), (score == threshold).float()
    key = size * (2 * above + equal) - torch.arange(size, device=score.device, dtype=torch.float32)
    return key.topk(count, dim=1).indices


def gather_queries(x: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` (B, K) of x (B, Q, C): (B, K, C)."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
