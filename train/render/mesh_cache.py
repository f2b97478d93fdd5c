# SPDX-License-Identifier: Apache-2.0
"""Cache of meshes on the device, shared by all scenes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import moderngl
import numpy as np

from train.render.meshes import Mesh


@dataclass(frozen=True)
class UploadedMesh:
    """Buffers of a mesh; ``ranges``: first index and number of indices of each part, faces sorted by part."""

    buffers: tuple[moderngl.Buffer, moderngl.Buffer]
    shade: moderngl.VertexArray
    label: moderngl.VertexArray
    shadow: moderngl.VertexArray
    ranges: dict[int, tuple[int, int]]


class MeshCache:
    """The most recently used meshes on the device, at most ``capacity``, with vertex arrays for three programs."""

    def __init__(
        self,
        context: moderngl.Context,
        shade: moderngl.Program,
        label: moderngl.Program,
        shadow: moderngl.Program,
        capacity: int,
    ) -> None:
        self._context, self._programs, self._capacity = context, (shade, label, shadow), capacity
        self._uploaded: OrderedDict[str, UploadedMesh] = OrderedDict()

    def upload(self, key: str, mesh: Mesh) -> UploadedMesh:
        """The mesh of this key, uploaded if it is not cached; the least recently used meshes are freed."""
        if key in self._uploaded:
            self._uploaded.move_to_end(key)
            return self._uploaded[key]
        data = np.concatenate([mesh.vertices, mesh.normals, mesh.uvs, mesh.parts[:, None]], axis=1)
        part_of_face = mesh.parts[mesh.faces[:, 0]]
        order = np.argsort(part_of_face, kind="stable")
        parts, firsts, counts = np.unique(part_of_face[order], return_index=True, return_counts=True)
        vertices = self._context.buffer(data.astype(np.float32).tobytes())
        faces = self._context.buffer(mesh.faces[order].astype(np.int32).tobytes())
        shade, label, shadow = self._programs
        uploaded = UploadedMesh(
            (vertices, faces),
            self._context.vertex_array(shade, [(vertices, "3f 3f 2f 1f", "position", "normal", "uv", "part")], faces),
            self._context.vertex_array(label, [(vertices, "3f 20x 1f", "position", "part")], faces),
            self._context.vertex_array(shadow, [(vertices, "3f 24x", "position")], faces),
            {int(p): (3 * int(f), 3 * int(c)) for p, f, c in zip(parts, firsts, counts, strict=True)},
        )
        self._uploaded[key] = uploaded
        while len(self._uploaded) > self._capacity:
            self.free(next(iter(self._uploaded)))
        return uploaded

    def free(self, key: str) -> None:
        """Free a mesh, if it is cached; moderngl keeps device memory until it is released."""
        uploaded = self._uploaded.pop(key, None)
        if uploaded is None:
            return
        for array in (uploaded.shade, uploaded.label, uploaded.shadow):
            array.release()
        for buffer in uploaded.buffers:
            buffer.release()
