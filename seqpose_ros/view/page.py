# SPDX-License-Identifier: Apache-2.0
"""The live page: a viser server with the 3D scene and the panel. All files of the page come from this server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import viser
from scipy.spatial.transform import Rotation

from seqpose_core import ObjectPose
from seqpose_core.geometry import BOX_EDGES, box_corners
from seqpose_core.grasping import Gripper
from seqpose_ros.view.state import ViewState, diagnostics_table, gripper_lines, track_label, track_table

_GRASPS = 8  # best ones that are drawn
_BEST = "best score"
_PLANE_EXTENT = 1.2  # metres
_SELECTED = (255, 140, 0)


@dataclass
class _Drawn:
    """Handles of one object in the scene, and what its box was drawn with."""

    frame: Any
    size: np.ndarray
    colour: tuple[int, int, int]


class Page:
    """Shows a :class:`ViewState` to all browsers.

    :param select: called with a track id, or None for the best score. :param clear: ends the selection.
    :param up: direction of the scene that is up, for example -y in a camera frame and +z in a world frame.
    """

    def __init__(
        self,
        host: str,
        port: int,
        reset: Callable[[], None],
        select: Callable[[int | None], None],
        clear: Callable[[], None],
        up: str = "-y",
    ) -> None:
        self.server = viser.ViserServer(host=host, port=port, label="SeqPose", verbose=False)
        self._drawn: dict[str, _Drawn] = {}
        self._grasps: Any = None
        self._plane: Any = None
        self._select = select
        scene, gui = self.server.scene, self.server.gui
        gui.configure_theme(control_width="large", show_logo=False, show_share_button=False)
        gui.main_panel.dock_right()
        scene.set_up_direction(up)  # type: ignore[arg-type]
        scene.add_frame("/origin", axes_length=0.1, axes_radius=0.001)
        if up == "-y":
            self.server.initial_camera.position = (0.35, -0.45, -0.1)
            self.server.initial_camera.look_at = (0.0, 0.05, 0.6)
        else:
            self.server.initial_camera.position = (1.0, -1.0, 0.8)
            self.server.initial_camera.look_at = (0.3, 0.0, 0.0)
        self._image = gui.add_image(np.zeros((48, 64, 3), np.uint8), label="camera", format="jpeg")
        self._table = gui.add_html("")
        self._choice = gui.add_dropdown("object", [_BEST], initial_value=_BEST)
        gui.add_button("Select").on_click(lambda _: self._on_select())
        gui.add_button("Clear selection").on_click(lambda _: clear())
        gui.add_button("Reset memory and tracks").on_click(lambda _: reset())
        self._answer = gui.add_markdown("")
        self._diagnostics = gui.add_html("")

    @property
    def address(self) -> str:
        """URL of the page."""
        return f"http://{self.server.get_host()}:{self.server.get_port()}"

    def answer(self, text: str) -> None:
        """Show the response of a service."""
        self._answer.content = text

    def show(self, state: ViewState) -> None:
        """Update the page."""
        with self.server.atomic():
            if state.image is not None:
                self._image.image = state.image
            self._draw_objects(state)
            self._draw_grasps(state)
            self._draw_plane(state)
            self._table.content = track_table(state)
            self._diagnostics.content = diagnostics_table(state)
            options = (_BEST, *(track_label(o) for o in state.objects if o.track_id is not None))
            if options != tuple(self._choice.options):
                self._choice.options = options  # an option that is gone falls back to the first one

    def close(self) -> None:
        """Stop the server."""
        self.server.stop()

    def _on_select(self) -> None:
        chosen = str(self._choice.value)
        self._select(None if chosen == _BEST else int(chosen.rsplit(" ", 1)[1]))

    def _draw_objects(self, state: ViewState) -> None:
        named = dict(_names(state.objects))
        for name in set(self._drawn) - set(named):
            self._drawn.pop(name).frame.remove()
        for name, item in named.items():
            selected = item.track_id is not None and item.track_id == state.selected
            colour = _SELECTED if selected else item.category_info.colour
            drawn = self._drawn.get(name)
            if drawn is None or drawn.colour != colour or not np.allclose(drawn.size, item.size, atol=1e-3):
                self._drawn[name] = drawn = self._draw_object(name, item, colour)
            drawn.frame.position = item.translation
            drawn.frame.wxyz = _wxyz(item.rotation)

    def _draw_object(self, name: str, item: ObjectPose, colour: tuple[int, int, int]) -> _Drawn:
        scene, path = self.server.scene, f"/objects/{name}"
        frame = scene.add_frame(path, axes_length=0.05, axes_radius=0.0015)
        edges = box_corners(item.size)[np.array(BOX_EDGES)]
        scene.add_line_segments(f"{path}/box", edges, np.array(colour, np.uint8), thickness=0.003)
        above = (0.0, 0.55 * float(item.size[1]), 0.0)
        scene.add_label(f"{path}/label", track_label(item), position=above, anchor="bottom-center")
        return _Drawn(frame, np.array(item.size), colour)

    def _draw_grasps(self, state: ViewState) -> None:
        if self._grasps is not None:
            self._grasps.remove()
            self._grasps = None
        if not state.grasps:
            return
        shown = state.grasps[:_GRASPS]
        depth = Gripper().finger_depth
        lines = np.concatenate([gripper_lines(grasp, depth) for grasp in shown])
        colours = np.array([[round(255 * (1 - g.score)), round(200 * g.score), 0] for g in shown], np.uint8)
        per_point = np.broadcast_to(np.repeat(colours, len(lines) // len(shown), axis=0)[:, None], lines.shape)
        self._grasps = self.server.scene.add_line_segments("/grasps", lines, per_point, thickness=0.003)

    def _draw_plane(self, state: ViewState) -> None:
        if state.plane is None:
            if self._plane is not None:
                self._plane.remove()
                self._plane = None
            return
        if self._plane is None:
            self._plane = self.server.scene.add_grid(
                "/support_plane", _PLANE_EXTENT, _PLANE_EXTENT, cell_size=0.05, section_size=0.25
            )
        normal, offset = state.plane[:3], state.plane[3]
        centre = np.mean([o.translation for o in state.objects], axis=0) if state.objects else np.zeros(3)
        self._plane.position = centre - (normal @ centre + offset) * normal
        self._plane.wxyz = _wxyz(Rotation.align_vectors(normal[None], [[0.0, 0.0, 1.0]])[0].as_matrix())


def _names(objects: Iterable[ObjectPose]) -> Iterable[tuple[str, ObjectPose]]:
    """Names of the scene nodes; objects without a track are numbered."""
    for index, item in enumerate(objects):
        number = f"new_{index}" if item.track_id is None else str(item.track_id)
        yield f"{item.category_info.id}_{number}", item


def _wxyz(rotation: np.ndarray) -> np.ndarray:
    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return np.array([w, x, y, z])
