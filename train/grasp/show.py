# SPDX-License-Identifier: Apache-2.0
"""A picture and a video of attempts: the robot's image with detections and the planned grasp, then the execution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import imageio.v2 as imageio
import numpy as np
from numpy.typing import NDArray

from seqpose_core import Camera
from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.geometry import make_transform
from seqpose_core.geometry import transform as apply
from seqpose_core.grasping import Grasp, Gripper, plan_grasps
from seqpose_core.objects import ObjectPose
from seqpose_core.visualize import draw_objects
from train.grasp.attempt import execute
from train.grasp.run import GraspJob, SceneRunner
from train.grasp.scenes import GraspScene, ground_truth, sample_scene, table_plane
from train.grasp.trial import feasible_targets, select
from train.grasp.views import grasp_camera, picture_scene, take_pictures
from train.grasp.world import TIMESTEP, World
from train.render.meshes import Array, rounded_box
from train.render.renderer import Renderer
from train.render.scene import PlacedObject, Scene
from train.render.sensor import tone_map
from train.render.surfaces import Material

Image = NDArray[np.uint8]
_SIZE = (480, 360)  # of the video
_FPS = 12
_LIFTED, _FAILED, _PLANNED = (60, 200, 80), (235, 60, 50), (255, 255, 255)


def draw_grasp(
    image: Image, camera: Camera, grasp: Grasp, gripper: Gripper, colour: tuple[int, int, int] = _PLANNED
) -> Image:
    """The image with the outline of the gripper at a grasp in the camera frame."""
    half, depth = grasp.opening / 2, gripper.finger_depth
    points = [[0, -half, 0], [0, -half, -depth], [0, half, -depth], [0, half, 0]]
    stem = [[0, 0, -depth], [0, 0, -depth - gripper.palm_depth]]
    canvas = image.copy()
    for line in (points, stem):
        pixels = camera.project(apply(grasp.pose, np.array(line)))
        if np.isfinite(pixels).all():
            path = np.round(pixels * 16).astype(np.int32)
            for width, shade in ((4, (20, 20, 20)), (2, colour)):
                cv2.polylines(canvas, [path], False, shade, width, cv2.LINE_AA, 4)
    return canvas


def gripper_objects(world: World) -> list[PlacedObject]:
    """The gripper's fingers and palm at their current poses, for the renderer."""
    pose, opening = world.gripper_parts()
    boxes = world.gripper.swept_boxes(np.array([opening]), 0.0)
    rubber, shell = Material((0.08, 0.08, 0.09), roughness=0.8), Material((0.85, 0.87, 0.9), roughness=0.35)
    objects = []
    for number, name in enumerate(("finger", "finger", "palm")):
        mesh = rounded_box(2 * boxes.half[0, number], 0.002)
        placed = pose @ make_transform(np.eye(3), boxes.centre[0, number])
        material = shell if name == "palm" else rubber
        objects.append(PlacedObject(name, 0, f"gripper_{name}", mesh, [material], placed))
    return objects


class VideoRecorder:
    """Renders the world every 1 / _FPS seconds of simulated time, from a fixed camera."""

    def __init__(self, renderer: Renderer, scene: Scene, camera_pose: Array) -> None:
        self._renderer, self._scene, self._pose = renderer, scene, camera_pose
        self._intrinsics = grasp_camera().resized(*_SIZE).matrix
        self._steps = 0
        self.images: list[Image] = []

    def __call__(self, world: World) -> None:
        """Render the world if a frame is due; called after each simulation step."""
        if self._steps % round(1 / (_FPS * TIMESTEP)) == 0:
            moved = [replace(o, world_from_object=world.object_pose(i)) for i, o in enumerate(self._scene.objects)]
            self._renderer.load(replace(self._scene, objects=[*moved, *gripper_objects(world)]))
            self.images.append(tone_map(self._renderer.render(self._intrinsics, self._pose).radiance))
        self._steps += 1


@dataclass(frozen=True)
class AttemptPictures:
    """One attempt: the picture with the planned grasp, and the frames of the video, (H, W, 3) uint8 RGB."""

    picture: Image
    frames: list[Image]


def _label(image: Image, text: str, colour: tuple[int, int, int]) -> Image:
    canvas = image.copy()
    cv2.rectangle(canvas, (0, 0), (canvas.shape[1], 20), (20, 20, 20), -1)
    cv2.putText(canvas, text, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    return canvas


def _choose_target(
    scene: GraspScene, targets: Sequence[int], detections: Sequence[ObjectPose], pose: Array, first: str
) -> tuple[int, ObjectPose, list[ObjectPose]] | None:
    """An object to grasp: of the category ``first`` if it is detected, else another; its detection and the others."""
    exact = ground_truth(scene, pose)
    for number in sorted(targets, key=lambda i: exact[i].category != first):
        index = select(exact[number], detections)
        if index is not None:
            return number, detections[index], [d for i, d in enumerate(detections) if i != index]
    return None


def show_scene(runner: SceneRunner, renderer: Renderer, source: str, number: int) -> AttemptPictures | None:
    """Picture and frames of one attempt in scene ``number``; None if nothing there can be grasped."""
    gripper, seed = runner.gripper, runner.job.seed
    scene = sample_scene(seed, number, gripper)
    targets = list(feasible_targets(scene, gripper))
    clip = take_pictures(scene, runner.resources, seed)
    pose = clip[-1].camera_pose
    detections = ground_truth(scene, pose) if source == "true_pose" else runner.detections(source, clip)
    chosen = _choose_target(scene, targets, detections, pose, CATEGORY_NAMES[number % len(CATEGORY_NAMES)])
    if chosen is None:
        return None
    target, detected, others = chosen
    grasps = plan_grasps(detected, others, gripper=gripper, plane=table_plane(pose), max_grasps=1)
    if not grasps:
        return None
    grasp = grasps[0]
    recorder = VideoRecorder(renderer, picture_scene(scene, runner.resources, seed)[0], pose)
    outcome = execute(scene.world, target, pose @ grasp.pregrasp, pose @ grasp.pose, grasp.opening, recorder)
    text = f"{detected.category}, {grasp.kind} grasp: {'lifted' if outcome.success else 'not lifted'}"
    colour = _LIFTED if outcome.success else _FAILED
    picture = draw_objects(clip[-1].image, grasp_camera(), detections)
    picture = _label(draw_grasp(picture, grasp_camera(), grasp, gripper), text, colour)
    return AttemptPictures(picture, [_label(image, text, colour) for image in recorder.images])


def write_pictures(job: GraspJob, count: int) -> None:
    """Write picture.png and video.mp4 with attempts in the first scenes, ``count`` at most, to the output folder.

    The poses are those of "plane" if the job has it, else of "raw", else the true ones.
    """
    source = next(a for a in ("plane", "raw", "true_pose") if a in job.sources)
    runner = SceneRunner(replace(job, sources=(source,)), pictures=True)
    renderer = Renderer(runner.resources.textures, runner.resources.environments, *_SIZE)
    shown: list[AttemptPictures] = []
    for number in range(job.scenes):
        result = show_scene(runner, renderer, source, number)
        shown += [] if result is None else [result]
        if len(shown) == count:
            break
    if not shown:
        return
    pictures = [s.picture for s in shown]
    columns = min(3, len(pictures))
    pictures += [np.zeros_like(pictures[0])] * (-len(pictures) % columns)
    rows = [np.concatenate(pictures[i : i + columns], axis=1) for i in range(0, len(pictures), columns)]
    cv2.imwrite(str(job.out / "picture.png"), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
    with imageio.get_writer(job.out / "video.mp4", fps=_FPS, macro_block_size=8) as writer:
        for result in shown:
            for image in result.frames:
                writer.append_data(image)  # type: ignore[attr-defined]
