# SPDX-License-Identifier: Apache-2.0
"""The closed-loop benchmark: collision shapes, simulated lifts from true poses, selection and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from scipy.spatial import ConvexHull

pytest.importorskip("mujoco", reason="needs the extra sim")

from seqpose_core.grasping import Gripper, plan_grasps
from seqpose_core.objects import ObjectPose
from seqpose_core.support_plane import SupportPlane
from train.bag_messages import IMAGE_TOPIC, INFO_TOPIC, typestore
from train.grasp.__main__ import main
from train.grasp.attempt import execute
from train.grasp.convex_parts import clip, convex_parts
from train.grasp.over_dds import write_bag
from train.grasp.report import summarise
from train.grasp.trial import CAUSES, estimate, select
from train.grasp.views import HEIGHT, WIDTH, StampedImage
from train.grasp.world import Body, World
from train.render.layout import Y_UP
from train.render.scene import instance_mesh

TABLE = SupportPlane(np.array([0.0, 0.0, 1.0]), 0.0)
KINDS = ("bottle", "bowl", "camera", "can", "laptop", "mug")
#: Instances of the test pool that fit an 85 mm gripper.
FITTING = {"bottle": 1, "bowl": 1, "camera": 1, "can": 1, "laptop": 1, "mug": 0}


def standing(kind: str, at: tuple[float, float] = (0.0, 0.0)) -> Body:
    mesh = instance_mesh("test", kind, FITTING[kind])
    pose = np.eye(4)
    pose[:3, :3] = Y_UP
    pose[:3, 3] = [*at, mesh.extents[1] / 2 + 0.001]
    return Body(kind, mesh, pose)


def seen(body: Body, pose: np.ndarray) -> ObjectPose:
    return ObjectPose(body.kind, 1.0, pose[:3, :3], pose[:3, 3], body.mesh.extents, np.eye(6) * 1e-8)


def contains(part: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N,) whether points (N, 3) lie in the convex hull of a part."""
    equations = ConvexHull(part).equations
    return (points @ equations[:, :3].T + equations[:, 3] <= 0).all(axis=1)


def test_clip_cuts_a_triangle_at_the_plane() -> None:
    """A right triangle with legs of 2 cut at x = 1: a quadrilateral of area 2 - 1/2 remains."""
    triangle = np.array([[[0.0, 0, 0], [2, 0, 0], [0, 2, 0]]])
    left = clip(triangle, np.array([1.0, 0, 0]), 1.0)
    right = clip(triangle, np.array([-1.0, 0, 0]), -1.0)
    areas = [np.linalg.norm(np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]), axis=1).sum() / 2 for t in (left, right)]
    assert areas == pytest.approx([1.5, 0.5])


@pytest.mark.parametrize("kind", KINDS)
def test_parts_have_the_extents_of_the_mesh(kind: str) -> None:
    mesh = instance_mesh("test", kind, FITTING[kind])
    points = np.concatenate(convex_parts(kind, mesh))
    assert np.ptp(points, axis=0) == pytest.approx(mesh.extents, abs=1e-3)


@pytest.mark.parametrize("kind", ["bowl", "mug"])
def test_vessels_are_hollow(kind: str) -> None:
    """The axis is free from 40 % of the height to the rim, and the floor is closed."""
    mesh = instance_mesh("test", kind, FITTING[kind])
    x = -mesh.extents[0] / 2 + mesh.extents[2] / 2 if kind == "mug" else 0.0
    heights = np.linspace(-0.1, 0.5, 20) * mesh.extents[1]
    axis = np.stack([np.full(20, x), heights, np.zeros(20)], axis=1)
    parts = convex_parts(kind, mesh)
    assert not any(contains(part, axis).any() for part in parts)
    floor = np.stack(
        [np.full(50, x + 0.005), np.linspace(-0.5, -0.3, 50) * mesh.extents[1], np.full(50, 0.002)], axis=1
    )
    assert any(contains(part, floor).any() for part in parts)


@pytest.mark.parametrize("kind", KINDS)
def test_object_is_lifted_from_its_true_pose(kind: str) -> None:
    body = standing(kind)
    world = World([body], Gripper())
    world.settle(0.3)
    assert world.object_pose(0)[2, 3] == pytest.approx(body.mesh.extents[1] / 2, abs=2e-3)
    grasp = plan_grasps(seen(body, world.object_pose(0)), plane=TABLE, max_grasps=1)[0]
    outcome = execute(world, 0, grasp.pregrasp, grasp.pose, grasp.opening)
    assert outcome.success and outcome.held and not outcome.collided
    assert 0.1 <= outcome.lift <= 0.21


def test_grasp_beside_the_object_does_not_lift_it() -> None:
    body = standing("can")
    world = World([body], Gripper())
    world.settle(0.3)
    grasp = plan_grasps(seen(body, world.object_pose(0)), plane=TABLE, max_grasps=1)[0]
    aside = np.eye(4)
    aside[:3, 3] = 0.2 * grasp.pose[:3, 1]
    outcome = execute(world, 0, aside @ grasp.pregrasp, aside @ grasp.pose, grasp.opening)
    assert outcome.lift == pytest.approx(0, abs=1e-3)
    assert not outcome.success and not outcome.held


def test_contact_with_a_neighbour_is_a_collision() -> None:
    """The neighbour is in the way of the grasp that was planned without it."""
    alone = standing("can")
    grasp = plan_grasps(seen(alone, alone.pose), plane=TABLE, max_grasps=1)[0]
    x, y, _ = grasp.pose[:3, 3] - 0.09 * grasp.pose[:3, 2]
    world = World([alone, standing("bottle", (float(x), float(y)))], Gripper())
    world.settle(0.3)
    assert execute(world, 0, grasp.pregrasp, grasp.pose, grasp.opening).collided


def test_attempts_start_from_the_settled_state() -> None:
    body = standing("can")
    world = World([body], Gripper())
    world.settle(0.3)
    before = world.object_pose(0)
    grasp = plan_grasps(seen(body, before), plane=TABLE, max_grasps=1)[0]
    first = execute(world, 0, grasp.pregrasp, grasp.pose, grasp.opening)
    assert execute(world, 0, grasp.pregrasp, grasp.pose, grasp.opening) == first
    world.reset()
    assert world.object_pose(0) == pytest.approx(before)


def detection(category: str, x: float, z: float = 1.0) -> ObjectPose:
    return ObjectPose(category, 1.0, np.eye(3), np.array([x, 0.0, z]), np.full(3, 0.06), np.eye(6))


def test_selection_takes_the_nearest_detection_and_prefers_the_category() -> None:
    target = detection("can", 0.0)
    assert select(target, []) is None
    assert select(target, [detection("can", 0.05)]) is None
    assert select(target, [detection("mug", 0.03), detection("mug", 0.01)]) == 1
    assert select(target, [detection("mug", 0.0), detection("can", 0.03), detection("can", -0.02)]) == 2
    # Across the line of sight: at twice the depth and twice the offset it is seen in the same place.
    assert select(detection("can", 0.2), [detection("can", 0.4, 2.0)]) == 0


def outcome(source: str, category: str, cause: str | None, error: float | None = None) -> dict[str, Any]:
    return {
        "source": source,
        "category": category,
        "success": cause is None,
        "cause": cause,
        "position_error_cm": error,
    }


class TwoDetections:
    """Stands for an estimator: a confirmed and a new detection in every frame."""

    def reset(self) -> None:
        self.planes: list[SupportPlane | None] = []

    def step(
        self, image: np.ndarray, camera: Any, stamp: float, pose: np.ndarray, support_plane: SupportPlane | None
    ) -> list[ObjectPose]:
        self.planes.append(support_plane)
        size, covariance = np.full(3, 0.1), np.eye(6)
        return [ObjectPose("can", 0.3, np.eye(3), np.zeros(3), size, covariance, track_id=i) for i in (4, None)]


def test_only_confirmed_objects_are_grasped() -> None:
    pose = np.eye(4)
    pose[2, 3] = 0.7
    frames = [StampedImage(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 0.1 * i, pose) for i in range(2)]
    estimator = TwoDetections()
    assert [o.track_id for o in estimate(estimator, frames, with_plane=True)] == [4]  # type: ignore[arg-type]
    # All objects of the scenes stand on the table, 0.7 m below the camera.
    assert [(p.offset, p.prior) for p in estimator.planes if p is not None] == [(0.7, 1.0)] * 2


def test_report_counts_objects_without_a_detection_as_failures() -> None:
    records = [
        {
            "objects": ["can_test_0001", "mug_test_0001", "can_test_0002"],
            "infeasible": [2],
            "attempts": [
                outcome("true_pose", "can", None),
                outcome("true_pose", "mug", "slipped"),
                outcome("raw", "can", None, 0.7),
                outcome("raw", "mug", "not_found"),
            ],
        },
        {
            "objects": ["can_test_0003"],
            "infeasible": [],
            "attempts": [outcome("true_pose", "can", None), outcome("raw", "can", "position", 4.0)],
        },
    ]
    report = summarise(records, ("true_pose", "raw"))
    assert report["scenes"] == 2
    assert report["attempts"]["all"] == 3 and report["attempts"]["can"] == 2
    assert report["infeasible"]["all"] == report["infeasible"]["can"] == 1
    assert report["lift_percent"]["true_pose"]["all"] == pytest.approx(66.7)
    assert report["lift_percent"]["raw"]["can"] == 50.0 and report["lift_percent"]["raw"]["mug"] == 0.0
    assert report["lift_percent"]["raw"]["bowl"] is None
    assert report["causes"]["raw"]["all"] == {c: int(c in ("not_found", "position")) for c in CAUSES}
    bins = {row["from_cm"]: row for row in report["lift_percent_by_position_error"]["raw"]}
    assert bins[0.5]["lift_percent"] == 100.0 and bins[3.0]["lift_percent"] == 0.0


def test_command_lifts_objects_in_clutter_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--poses", "true_pose", "--show", "0", "--out", str(tmp_path)]
    main(["--scenes", "1", *arguments])
    first = (tmp_path / "scenes" / "0000.json").stat().st_mtime_ns
    main(["--scenes", "2", *arguments])
    assert (tmp_path / "scenes" / "0000.json").stat().st_mtime_ns == first
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["scenes"] == 2 and report["attempts"]["all"] >= 4
    assert report["lift_percent"]["true_pose"]["all"] >= 75
    assert "| can |" in (tmp_path / "report.md").read_text()
    with pytest.raises(ValueError, match=r"settings\.json has seed 0 but this run has 1; choose another --out"):
        main(["--scenes", "1", "--seed", "1", *arguments])


def test_pictures_are_played_to_the_node_with_camera_and_transform(tmp_path: Path) -> None:
    pose = np.eye(4)
    pose[:3, 3] = [0.1, 0.2, 0.7]
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    write_bag([StampedImage(image, 0.0, pose), StampedImage(image, 0.15, pose)], tmp_path / "bag")
    with AnyReader([tmp_path / "bag"], default_typestore=typestore()) as reader:
        messages = [(c.topic, stamp, reader.deserialize(raw, c.msgtype)) for c, stamp, raw in reader.messages()]
    images = [(stamp, m) for topic, stamp, m in messages if topic == IMAGE_TOPIC]
    assert len(images) == 2
    assert images[1][0] - images[0][0] == 150_000_000
    info = next(m for topic, _, m in messages if topic == INFO_TOPIC)
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    assert info.k[0] == pytest.approx(591.0125 / 2)  # the camera of REAL275 at half its size
    transform = next(m for topic, _, m in messages if topic == "/tf").transforms[0].transform.translation
    assert (transform.x, transform.y, transform.z) == (0.1, 0.2, 0.7)
