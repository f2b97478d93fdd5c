# SPDX-License-Identifier: Apache-2.0
"""Training losses: matching of queries to ground truth, and the terms of Eq. 10."""
