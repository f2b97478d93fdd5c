# SPDX-License-Identifier: Apache-2.0
"""Parts of the command lines that several commands share."""

from __future__ import annotations

import argparse
from dataclasses import replace

from seqpose_core import config_io
from train.fit.config import TrainConfig, load


def check_at_least_one(parser: argparse.ArgumentParser, options: argparse.Namespace, *names: str) -> None:
    """End the command with a message if one of these options is given and below 1."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} is {value}; it must be at least 1")


def load_config(parser: argparse.ArgumentParser, options: argparse.Namespace) -> TrainConfig:
    """The training configuration of ``--config``, with ``--data`` in place of its data.root.

    A file that cannot be read ends the command with a message.
    """
    try:
        config = load(options.config)
    except (OSError, config_io.ConfigError) as error:
        parser.error(str(error))
    return replace(config, data=replace(config.data, root=options.data)) if options.data else config
