# SPDX-License-Identifier: Apache-2.0
"""The recipe of the bundled checkpoint: render, train, evaluate and write the model card within a time budget."""
