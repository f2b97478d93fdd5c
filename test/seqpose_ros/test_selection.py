# SPDX-License-Identifier: Apache-2.0
"""Selection of one object, and its outputs over DDS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PointStamped, PoseStamped
from ros_rig import STAMP, Client, FakeEstimator, InProcess, header, mug, picture
from std_srvs.srv import Trigger

from seqpose_core import ObjectPose
from seqpose_ros.msg import SelectedObject
from seqpose_ros.selection.selection import Criteria, Selection, SelectionError, Visibility, choose
from seqpose_ros.srv import SelectObject

Start = Callable[..., InProcess]


def at(item: ObjectPose, x: float, score: float) -> ObjectPose:
    return replace(item, translation=np.array([x, 0.0, 1.0]), score=score)


def bowl(track_id: int | None) -> ObjectPose:
    return ObjectPose("bowl", 0.9, np.eye(3), np.array([0.3, 0.0, 1.0]), np.array([0.2, 0.1, 0.2]), np.eye(6), track_id)


OBJECTS = [at(mug(1), 0.0, 0.8), at(mug(2), 0.2, 0.7), bowl(3), at(mug(None), 0.1, 1.0)]


@pytest.mark.parametrize(
    ("criteria", "track_id"),
    [
        (Criteria(), 3),  # the best score, 0.9; the mug without a track has 1.0
        (Criteria(category="mug"), 1),
        (Criteria(track_id=2), 2),
        (Criteria(nearest_to=np.array([0.11, 0.0, 1.0])), 2),  # 9 cm; mug 1 is at 11 cm
        (Criteria(category="mug", nearest_to=np.array([0.5, 0.0, 1.0])), 2),  # the bowl is nearer
    ],
)
def test_the_criteria_select(criteria: Criteria, track_id: int) -> None:
    assert choose(OBJECTS, criteria).track_id == track_id


def test_without_a_match_the_error_lists_what_there_is() -> None:
    with pytest.raises(SelectionError, match="no can in the last image; confirmed are: mug 1, mug 2, bowl 3"):
        choose(OBJECTS, Criteria(category="can"))
    with pytest.raises(SelectionError, match="no mug with track id 3 in the last image"):
        choose(OBJECTS, Criteria(category="mug", track_id=3))
    with pytest.raises(SelectionError, match="confirmed are: none"):
        choose([mug(None)], Criteria())


def visibilities(selection: Selection, frames: list[list[ObjectPose]]) -> list[Visibility | None]:
    states = [selection.update(objects, 100 + i, max_age=2) for i, objects in enumerate(frames)]
    return [state.visibility if state else None for state in states]


def test_an_object_is_hidden_for_max_age_images_and_then_lost() -> None:
    selection = Selection()
    selection.select(mug(1), 99)
    states = visibilities(selection, [[mug(1)], [], [], [mug(1)], [], [], []])
    assert [state.value for state in states if state] == (
        ["visible", "hidden", "hidden", "visible", "hidden", "hidden", "lost"]
    )
    assert selection.selected
    assert selection.selected.last_seen == 103  # the stamp of the fourth image


def test_a_lost_object_is_not_replaced() -> None:
    selection = Selection()
    selection.select(mug(1), 99)
    frames = [[mug(2)]] * 4 + [[mug(1), mug(2)]]
    assert visibilities(selection, frames)[-2:] == [Visibility.LOST, Visibility.LOST]
    assert selection.selected
    assert selection.selected.object.track_id == 1
    selection.select(mug(2), 200)
    assert visibilities(selection, [[mug(2)]]) == [Visibility.VISIBLE]
    selection.clear()
    assert visibilities(selection, [[mug(2)]]) == [None]


def test_cleared_tracks_lose_the_object() -> None:
    selection = Selection()
    selection.lose()
    assert selection.selected is None
    selection.select(mug(1), 99)
    selection.lose()
    assert visibilities(selection, [[mug(1)]]) == [Visibility.LOST]


# The node.


def select(client: Client, **fields: Any) -> Any:
    return client.call(SelectObject, "/seqpose_node/select", SelectObject.Request(**fields))


def test_the_selected_object_is_published_at_the_stamp_of_each_image(client: Client, start: Start) -> None:
    estimator = FakeEstimator([mug(7), bowl(3)])
    start(estimator, max_age=1)
    poses = client.listen(PoseStamped, "/seqpose_node/selected")
    states = client.listen(SelectedObject, "/seqpose_node/selected_object")
    client.connect()
    assert select(client).message == "there is no object in the last image; confirmed are: none"
    client.send_first(picture(), STAMP)
    response = select(client, category="mug")
    assert (response.success, response.message, response.object.track_id) == (True, "mug 7 is selected", 7)
    assert states == []
    client.send(picture(), STAMP + 0.1)
    client.until(lambda: states and poses, "the selected object")
    assert states[0].header == poses[0].header == header(STAMP + 0.1)
    assert (states[0].state, states[0].object.category, poses[0].pose.position.z) == (
        SelectedObject.VISIBLE,
        "mug",
        0.9,
    )
    estimator.objects = [bowl(3)]
    client.send(picture(), STAMP + 0.2)
    client.send(picture(), STAMP + 0.3)
    estimator.objects = [bowl(3), mug(8)]  # the mug returns with a new id
    client.send(picture(), STAMP + 0.4)
    client.until(lambda: len(states) == 4, "four states")
    assert [s.state for s in states[1:]] == [SelectedObject.HIDDEN, SelectedObject.LOST, SelectedObject.LOST]
    assert {s.object.track_id for s in states} == {7}
    assert states[-1].last_seen == header(STAMP + 0.1).stamp
    assert len(poses) == 1


def test_a_failed_selection_keeps_the_previous_one_and_a_cleared_one_publishes_nothing(
    client: Client, start: Start
) -> None:
    start(FakeEstimator([mug(7), bowl(3)]))
    states = client.listen(SelectedObject, "/seqpose_node/selected_object")
    client.connect()
    client.send_first(picture(), STAMP)
    point = PointStamped()
    point.point.x, point.point.z = 0.3, 1.0
    assert select(client, by=SelectObject.Request.NEAREST, point=point).object.track_id == 3
    point.header.frame_id = "base"
    refused = select(client, by=SelectObject.Request.NEAREST, point=point)
    assert refused.message == "the point is in frame 'base'; it must be in 'camera', that of ~/objects"
    assert not select(client, by=9).success
    client.send(picture(), STAMP + 0.1)
    client.until(lambda: states, "the selected object")
    assert states[-1].object.track_id == 3
    assert select(client, by=SelectObject.Request.CLEAR).success
    client.until(lambda: states[-1].state == SelectedObject.NONE, "the cleared state")
    client.send(picture(), STAMP + 0.2)
    client.send(picture(), STAMP + 0.3)
    assert len(states) == 2


def test_a_reset_signals_the_loss_at_once(client: Client, start: Start) -> None:
    start(FakeEstimator([mug(7)]))
    states = client.listen(SelectedObject, "/seqpose_node/selected_object")
    client.connect()
    client.send_first(picture(), STAMP)
    select(client, track_id=7)
    client.send(picture(), STAMP + 0.1)
    assert client.call(Trigger, "/seqpose_node/reset", Trigger.Request()).success
    client.until(lambda: len(states) == 2, "the loss")
    assert states[-1].state == SelectedObject.LOST
