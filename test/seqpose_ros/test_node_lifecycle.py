# SPDX-License-Identifier: Apache-2.0
"""Lifecycle transitions, parameters and services of the node."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_rig import STAMP, Client, FakeEstimator, InProcess, mug, picture
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

Start = Callable[..., InProcess]


def change(client: Client, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return client.call(ChangeState, "/seqpose_node/change_state", request).success


def state(client: Client) -> int:
    return client.call(GetState, "/seqpose_node/get_state", GetState.Request()).current_state.id


def test_the_model_is_loaded_only_while_the_node_is_active(client: Client) -> None:
    alive: list[weakref.ref[FakeEstimator]] = []

    def load(settings: Any) -> FakeEstimator:
        estimator = FakeEstimator()
        alive.append(weakref.ref(estimator))
        return estimator

    rig = InProcess(load, autostart=False)
    try:
        assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
        assert change(client, Transition.TRANSITION_CONFIGURE)
        assert not alive
        assert client.image.get_subscription_count() == 0
        for _ in range(2):
            assert change(client, Transition.TRANSITION_ACTIVATE)
            assert state(client) == State.PRIMARY_STATE_ACTIVE
            client.detections.clear()
            client.send_first(picture(), STAMP)
            assert alive[-1]() is not None
            assert change(client, Transition.TRANSITION_DEACTIVATE)
            assert alive[-1]() is None
            client.until(lambda: client.image.get_subscription_count() == 0, "the subscription to be destroyed")
        assert not client.call(Trigger, "/seqpose_node/reset", Trigger.Request()).success
        assert change(client, Transition.TRANSITION_CLEANUP)
        assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
        assert change(client, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        assert state(client) == State.PRIMARY_STATE_FINALIZED
    finally:
        rig.close()


def test_a_model_that_cannot_be_loaded_leaves_the_node_inactive(client: Client) -> None:
    def load(settings: Any) -> FakeEstimator:
        raise ValueError("no such checkpoint")

    rig = InProcess(load, autostart=False)
    try:
        assert change(client, Transition.TRANSITION_CONFIGURE)
        assert not change(client, Transition.TRANSITION_ACTIVATE)
        assert state(client) == State.PRIMARY_STATE_INACTIVE
    finally:
        rig.close()


def set_parameter(client: Client, name: str, value: Any) -> Any:
    parameter = Parameter(name, value=value).to_parameter_msg()
    request = SetParameters.Request(parameters=[parameter])
    return client.call(SetParameters, "/seqpose_node/set_parameters", request).results[0]


def test_live_parameters_reach_the_running_estimator_and_the_outputs(client: Client, start: Start) -> None:
    estimator = FakeEstimator([mug()])
    start(estimator)
    transforms = client.listen(TFMessage, "/tf")
    client.connect()
    assert set_parameter(client, "score_threshold", 0.8).successful
    assert set_parameter(client, "categories", ["mug", "can"]).successful
    assert (estimator.options.score_threshold, estimator.options.categories) == (0.8, ("mug", "can"))
    refused = set_parameter(client, "categories", ["cup"])
    assert not refused.successful
    assert "'cup'" in refused.reason
    assert estimator.options.categories == ("mug", "can")
    assert set_parameter(client, "publish_tf", False).successful
    client.send_first(picture(), STAMP)
    client.send(picture(), STAMP + 0.1)
    assert not transforms


def test_the_reset_service_resets_the_estimator(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator)
    assert client.call(Trigger, "/seqpose_node/reset", Trigger.Request()).success
    assert estimator.resets == 1
