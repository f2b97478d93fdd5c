# SPDX-License-Identifier: Apache-2.0
"""The selection of the highest scores does not depend on how ``topk`` resolves ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqpose_core.model.selection import top_k_indices


@pytest.mark.parametrize("count", [0, 1, 4, 9, 30])
def test_top_k_indices_equal_a_stable_sort(count: int) -> None:
    """Scores of five different values only, so that most are tied."""
    score = torch.randint(0, 5, (8, 30), generator=torch.Generator().manual_seed(0)).float()
    expected = np.argsort(-score.numpy(), axis=1, kind="stable")[:, :count]
    actual = top_k_indices(score, count).numpy()
    np.testing.assert_array_equal(np.sort(actual, axis=1), np.sort(expected, axis=1))


def test_tied_scores_are_selected_in_the_order_of_their_indices() -> None:
    assert top_k_indices(torch.tensor([[1.0, 3.0, 1.0, 1.0, 2.0]]), 4).tolist() == [[1, 4, 0, 2]]
