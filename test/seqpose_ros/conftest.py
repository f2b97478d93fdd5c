# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the node tests: a private ROS domain, a client, and a node with a fake estimator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from ros_rig import Client, InProcess

from seqpose_ros import node
from seqpose_ros.bags.replay import private_ros_environment
from seqpose_ros.node import SeqPoseNode


@pytest.fixture(scope="module")
def private_domain() -> Iterator[None]:
    """A ROS domain that no other test uses; nodes in this process publish their diagnostics every 0.1 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "DIAGNOSTICS_PERIOD", 0.1)
        for name, value in private_ros_environment().items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def client(private_domain: None) -> Iterator[Client]:
    """A camera publisher and subscriber of the node."""
    made = Client()
    yield made
    made.close()


@pytest.fixture
def start(private_domain: None) -> Iterator[Callable[..., InProcess]]:
    """Starts a node: ``start(estimator, active=True, **parameters)``."""
    running: list[InProcess] = []

    def begin(estimator: Any, active: bool = True, **parameters: Any) -> InProcess:
        running.append(InProcess(partial(SeqPoseNode, lambda settings: estimator), **parameters))
        if active:
            running[-1].node.trigger_configure()
            running[-1].node.trigger_activate()
        return running[-1]

    yield begin
    for rig in running:
        rig.close()
