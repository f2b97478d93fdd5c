# SPDX-License-Identifier: Apache-2.0
"""Training in several processes: how many there are, and what they count and collect together."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from torch import Tensor

from train.fit.config import ComputeConfig


def process_layout(config: ComputeConfig) -> tuple[int, int]:
    """Processes a node, and nodes: as torchrun or srun say that started this process, else as configured."""
    if TorchElasticEnvironment.detect():
        each = int(os.environ["LOCAL_WORLD_SIZE"])
        return each, int(os.environ["WORLD_SIZE"]) // each
    if SLURMEnvironment.detect():
        nodes = int(os.environ["SLURM_NNODES"])
        return int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    return config.devices, config.num_nodes


def slurm_plugins() -> list[SLURMEnvironment]:
    """Lightning's plugin for SLURM where SLURM is what runs this, else none.

    Lightning would requeue the job on a signal of SLURM, and let any new run in the folder go on from what it saved
    then. Runs go on from their own last.ckpt.
    """
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return []
    return [SLURMEnvironment(auto_requeue=False)]


def strategy_name(config: ComputeConfig, processes: int) -> str:
    """Lightning's name of the strategy; by itself DDP that bears parameters which a batch leaves unused."""
    if config.strategy != "auto" or processes == 1:
        return config.strategy
    return "ddp_find_unused_parameters_true"


def is_distributed() -> bool:
    """Whether this process is one of several that train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def average_count(count: Tensor) -> Tensor:
    """What a sum of this process is divided by, so that the mean over processes is the mean over all samples.

    DDP averages gradients over processes, so a mean over all objects of a batch is each process's sum divided by the
    number in all processes, over the number of processes (as in DETR). At least one object is counted.

    :param count: () or any shape, how many objects or pixels this process sums over.
    """
    total = count.detach().clone().float()
    if not is_distributed():
        return total.clamp_min(1)
    dist.all_reduce(total)
    return total.clamp_min(1) / dist.get_world_size()


def gather(own: list[Any]) -> list[Any]:
    """The lists of all processes joined in the order of their ranks, in every process."""
    if not is_distributed():
        return list(own)
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, own)
    return [item for part in parts for item in part]


def gather_samples(own: Tensor) -> Tensor:
    """Tensors (B, …) of all processes joined along B in the order of their ranks, in every process."""
    if not is_distributed():
        return own
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own.contiguous())
    return torch.cat(parts)
