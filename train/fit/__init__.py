# SPDX-License-Identifier: Apache-2.0
"""Training: configuration, batches, Lightning module, optimizer, callbacks and resume."""
