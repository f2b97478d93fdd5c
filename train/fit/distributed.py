# SPDX-License-Identifier: Apache-2.0
"""Distributed training: numbers of processes, Lightning strategy, and collective operations."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import Tensor

from train.fit.config import ComputeConfig


def process_layout(config: ComputeConfig) -> tuple[int, int]:
    """(processes per node, nodes): from the environment of torchrun or srun, else from the configuration.

    In a SLURM job with one task this process starts the others itself, as outside of SLURM.
    """
    if TorchElasticEnvironment.detect():
        per_node = int(os.environ["LOCAL_WORLD_SIZE"])
        return per_node, int(os.environ["WORLD_SIZE"]) // per_node
    if (tasks := _slurm_tasks()) > 1:
        nodes = int(os.environ["SLURM_NNODES"])
        return tasks // nodes, nodes
    return config.devices, config.num_nodes


def slurm_plugins() -> list[ClusterEnvironment]:
    """Lightning's plugin for the processes of a SLURM job, without automatic requeueing; nothing outside of SLURM.

    With one task, Lightning's own environment, which starts processes, replaces that of SLURM, which does not.
    By default Lightning requeues the job on SLURM's signal, and any new run in the folder resumes from the checkpoint
    that it saved then. Here runs resume from their own last.ckpt only.
    """
    tasks = _slurm_tasks()
    if TorchElasticEnvironment.detect() or tasks == 0:
        return []
    return [SLURMEnvironment(auto_requeue=False) if tasks > 1 else LightningEnvironment()]


def _slurm_tasks() -> int:
    """Number of tasks of the SLURM job; 0 outside of SLURM."""
    return int(os.environ["SLURM_NTASKS"]) if SLURMEnvironment.detect() else 0


def strategy_name(config: ComputeConfig, processes: int) -> str:
    """Lightning's name of the strategy; auto is DDP that accepts parameters without a gradient."""
    if config.strategy != "auto" or processes == 1:
        return config.strategy
    return "ddp_find_unused_parameters_true"


def is_distributed() -> bool:
    """Whether this is one of several training processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def average_count(count: Tensor) -> Tensor:
    """``count`` averaged over processes, at least 1: the divisor of a loss that is summed in this process (as in DETR).

    DDP averages gradients over processes. With this divisor the average of all processes' losses is the mean over all
    objects of the batch.

    :param count: any shape, the number of objects or pixels that this process sums over.
    """
    total = count.detach().clone().float()
    if not is_distributed():
        return total.clamp_min(1)
    dist.all_reduce(total)
    return total.clamp_min(1) / dist.get_world_size()


def gather_items(own: list[Any]) -> list[Any]:
    """The lists of all processes, concatenated in rank order; every process gets the result."""
    if not is_distributed():
        return list(own)
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, own)
    return [item for part in parts for item in part]


def gather_samples(own: Tensor) -> Tensor:
    """Tensors (B, ...) of all processes, concatenated along B in rank order; every process gets the result."""
    if not is_distributed():
        return own
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own.contiguous())
    return torch.cat(parts)
