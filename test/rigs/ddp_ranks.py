# SPDX-License-Identifier: Apache-2.0
"""Train a configuration with one process and with two, with torchrun's environment: python ddp_ranks.py CONFIG OUT."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from pathlib import Path

import torch

from train.fit.config import load
from train.fit.run import fit


def train(config: Path, out: Path, rank: int, processes: int, port: int) -> None:
    torch.set_num_threads(1)
    if processes > 1:
        os.environ |= {
            "TORCHELASTIC_RUN_ID": "test",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "GROUP_RANK": "0",
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
        }
    fit(load(config), out, progress=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(config: Path, out: Path) -> int:
    fork = multiprocessing.get_context("fork")  # the processes share the imported modules
    port = free_port()
    runs = [(out / "one", 0, 1), (out / "two", 0, 2), (out / "two", 1, 2)]
    started = [fork.Process(target=train, args=(config, *run, port)) for run in runs]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return max(abs(process.exitcode or 0) for process in started)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
