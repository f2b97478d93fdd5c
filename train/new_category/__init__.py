# SPDX-License-Identifier: Apache-2.0
"""Add a category of one's own to a checkpoint: meshes → renders → fine-tuned checkpoint; see docs/new-category.md."""
