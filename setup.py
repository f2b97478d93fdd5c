# SPDX-License-Identifier: Apache-2.0
"""`pip install .` installs seqpose_core with its checkpoints; all metadata is in pyproject.toml."""

from setuptools import setup

setup()
