# SPDX-License-Identifier: Apache-2.0
"""The moderngl renderer: colour with shadows and room light, and exact labels, on EGL without a display."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import moderngl
import numpy as np
from numpy.typing import NDArray

from train.render import shaders
from train.render.materials import Material
from train.render.meshes import Array, Mesh, join, panel
from train.render.scene import Scene
from train.render.textures import TextureBank

NEAR, FAR = 0.05, 12.0
SUPERSAMPLING = 2
SHADOW_SIZE = 1024
SHADOW_REACH = 0.75  # metres about the scene's centre that the shadow map covers
FLOOR_DEPTH = 0.74  # height of the table top above the floor, metres


@dataclass(frozen=True)
class Rendered:
    """One view. colour (H, W, 3) uint8 sRGB; nocs (H, W, 3) float32 in 0..1; depth (H, W) float32 m along z;
    instances (H, W) int, 1 + index of the scene's object, 0 elsewhere; parts (H, W) int."""

    colour: NDArray[np.uint8]
    nocs: NDArray[np.float32]
    depth: NDArray[np.float32]
    instances: NDArray[np.int32]
    parts: NDArray[np.int32]


def create_context() -> moderngl.Context:
    """A standalone EGL context.

    :raise RuntimeError: no EGL driver; names the system packages that bring one.
    """
    # One llvmpipe thread per process: several processes scale better than several threads.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    try:
        # moderngl annotates **settings as if it were one dict.
        return moderngl.create_context(standalone=True, backend="egl")  # type: ignore[arg-type]
    except Exception as error:
        raise RuntimeError(
            f"no OpenGL through EGL ({error}); install the system packages libegl1 and libgl1-mesa-dri"
        ) from error


def clip_from_camera(matrix: Array, width: int, height: int) -> Array:
    """OpenGL projection (4, 4) of an OpenCV camera; image row 0 becomes the framebuffer's first row."""
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    result = np.zeros((4, 4))
    result[0, 0], result[0, 2] = 2 * fx / width, 2 * (cx + 0.5) / width - 1
    result[1, 1], result[1, 2] = 2 * fy / height, 2 * (cy + 0.5) / height - 1
    result[2, 2], result[2, 3] = (FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
    result[3, 2] = 1
    return result


def _uniform(program: moderngl.Program, name: str) -> moderngl.Uniform:
    member = program[name]
    assert isinstance(member, moderngl.Uniform), name
    return member


def _bytes(matrix: Array) -> bytes:
    """Column-major float32, as GLSL reads matrices."""
    return np.ascontiguousarray(matrix.T, dtype=np.float32).tobytes()


def _room_mesh(scene: Scene) -> Mesh:
    """Table slab (part 0), floor (1) and four walls (2), uv in metres times the material's repeat."""
    (hx, hy), half, top = scene.table_half, scene.room_half, 2.6
    c, s = np.cos(scene.table_turn), np.sin(scene.table_turn)
    ex, ey, ez = np.array([c, s, 0.0]), np.array([-s, c, 0.0]), np.array([0.0, 0.0, 1.0])

    def sheet(centre: Array, right: Array, up: Array, part: int, scale: float) -> Mesh:
        mesh = panel(centre, right, up, part)
        lengths = np.array([np.linalg.norm(right), np.linalg.norm(up)])
        return Mesh(mesh.vertices, mesh.normals, mesh.uvs * lengths * scale, mesh.parts, mesh.faces)

    parts = [sheet(np.zeros(3), 2 * hx * ex, 2 * hy * ey, 0, 1.0)]
    thick = 0.03
    for sign in (-1.0, 1.0):
        parts.append(sheet(sign * hx * ex - ez * thick / 2, sign * 2 * hy * ey, ez * thick, 0, 1.0))
        parts.append(sheet(sign * hy * ey - ez * thick / 2, -sign * 2 * hx * ex, ez * thick, 0, 1.0))
    parts.append(sheet(np.array([0, 0, -FLOOR_DEPTH]), 2 * half * ex, 2 * half * ey, 1, 0.5))
    middle = (top - FLOOR_DEPTH) / 2
    for normal, right in ((ex, ey), (-ex, -ey), (ey, -ex), (-ey, ex)):
        parts.append(sheet(-normal * half + ez * middle, 2 * half * right, ez * (top + FLOOR_DEPTH), 2, 0.12))
    return join(parts)


class Renderer:
    """Owns the context, the split's texture bank on the device and a cache of meshes."""

    def __init__(self, bank: TextureBank, width: int, height: int, cached_meshes: int = 600) -> None:
        self.width, self.height, self._capacity = width, height, cached_meshes
        self.context = context = create_context()
        self._shade = context.program(shaders.VERTEX, shaders.FRAGMENT)
        self._label = context.program(shaders.LABEL_VERTEX, shaders.LABEL_FRAGMENT)
        self._shadow = context.program(shaders.SHADOW_VERTEX, shaders.SHADOW_FRAGMENT)
        layers = bank.layers
        padded = np.concatenate([layers, np.full((*layers.shape[:3], 1), 255, np.uint8)], axis=-1)
        self._bank = context.texture_array((layers.shape[2], layers.shape[1], len(layers)), 4, padded.tobytes())
        self._bank.build_mipmaps()
        self._bank.filter = (moderngl.LINEAR_MIPMAP_NEAREST, moderngl.LINEAR)
        big = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self._colour = context.framebuffer([context.renderbuffer(big, 4)], context.depth_renderbuffer(big))
        self._coordinate = context.texture((width, height), 4)
        self._geometry = context.texture((width, height), 4, dtype="f4")
        self._labels = context.framebuffer(
            [self._coordinate, self._geometry], context.depth_renderbuffer((width, height))
        )
        self._shadow_map = context.depth_texture((SHADOW_SIZE, SHADOW_SIZE))
        self._shadow_map.compare_func = "<="
        self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
        self._shadow_map.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self._shadow_buffer = context.framebuffer(depth_attachment=self._shadow_map)
        self._cache: OrderedDict[str, tuple[moderngl.Buffer, moderngl.Buffer, list[moderngl.VertexArray]]] = (
            OrderedDict()
        )
        self._drawn: list[tuple[list[moderngl.VertexArray], list[Material], Array, float]] = []
        context.enable(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
        context.front_face = "cw"  # meshes are counter-clockwise, and the projection turns y over
        _uniform(self._shade, "bank").value = 0
        _uniform(self._shade, "shadow_map").value = 1

    def _upload(self, key: str, mesh: Mesh) -> list[moderngl.VertexArray]:
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key][2]
        data = np.concatenate([mesh.vertices, mesh.normals, mesh.uvs, mesh.parts[:, None]], axis=1)
        vertices = self.context.buffer(data.astype(np.float32).tobytes())
        faces = self.context.buffer(mesh.faces.astype(np.int32).tobytes())
        arrays = [
            self.context.vertex_array(
                self._shade, [(vertices, "3f 3f 2f 1f", "position", "normal", "uv", "part")], faces
            ),
            self.context.vertex_array(self._label, [(vertices, "3f 20x 1f", "position", "part")], faces),
            self.context.vertex_array(self._shadow, [(vertices, "3f 24x", "position")], faces),
        ]
        self._cache[key] = (vertices, faces, arrays)
        while len(self._cache) > self._capacity:
            self._forget(next(iter(self._cache)))
        return arrays

    def _forget(self, key: str) -> None:
        """Free a cached mesh; moderngl keeps device memory until told."""
        vertices, faces, arrays = self._cache.pop(key)
        for array in arrays:
            array.release()
        vertices.release()
        faces.release()

    def load(self, scene: Scene) -> None:
        """Upload a scene and draw its shadow map; views of it follow with :meth:`render`."""
        self._scene = scene
        if "room" in self._cache:
            self._forget("room")
        room = self._upload("room", _room_mesh(scene))
        table, floor = scene.table, scene.floor
        self._drawn = [(room, [table, floor, scene.wall], np.eye(4), 1.0)]
        for item in scene.objects:
            arrays = self._upload(item.model, item.mesh)
            diagonal = float(np.linalg.norm(item.mesh.extents))
            self._drawn.append((arrays, item.materials, item.world_from_object, diagonal))
        self._light = self._light_from_world(scene)
        self._shadow_buffer.use()
        self._shadow_buffer.clear(depth=1.0)
        self.context.disable(moderngl.CULL_FACE)
        for arrays, _, pose, _ in self._drawn[1:]:
            _uniform(self._shadow, "light_from_object").write(_bytes(self._light @ pose))
            arrays[2].render()
        self.context.enable(moderngl.CULL_FACE)
        self._set_scene_uniforms(scene)

    @staticmethod
    def _light_from_world(scene: Scene) -> Array:
        """Orthographic clip matrix (4, 4) of the first light about the scene's centre."""
        towards = scene.lights[0].direction
        right = np.cross([0.0, 0.0, 1.0], towards)
        right /= np.linalg.norm(right)
        rows = np.stack([right, np.cross(towards, right), -towards]) / SHADOW_REACH
        result = np.eye(4)
        result[:3, :3] = rows
        return result

    def _set_scene_uniforms(self, scene: Scene) -> None:
        program = self._shade
        directions = np.zeros((3, 3), np.float32)
        colours = np.zeros((3, 4), np.float32)
        for i, light in enumerate(scene.lights):
            directions[i] = light.direction
            colours[i] = [*light.colour, light.sharpness]
        _uniform(program, "light_count").value = len(scene.lights)
        _uniform(program, "light_direction").write(directions.tobytes())
        _uniform(program, "light_colour").write(colours.tobytes())
        _uniform(program, "ceiling").write(np.asarray(scene.ceiling, np.float32).tobytes())
        _uniform(program, "ground").write(np.asarray(scene.ground, np.float32).tobytes())
        _uniform(program, "softness").value = scene.shadow_softness
        _uniform(program, "exposure").write((scene.exposure * scene.white_balance).astype(np.float32).tobytes())
        _uniform(program, "light_from_world").write(_bytes(self._light))
        blobs = np.zeros((8, 4), np.float32)
        for i, item in enumerate(scene.objects[:8]):
            turned = item.mesh.vertices @ item.world_from_object[:2, :3].T
            radius = 0.30 * float(np.ptp(turned, axis=0).sum())
            blobs[i] = [*item.world_from_object[:2, 3], radius, 0.65]
        _uniform(program, "blob_count").value = min(8, len(scene.objects))
        _uniform(program, "blobs").write(blobs.tobytes())

    def _set_materials(self, materials: list[Material]) -> None:
        base, surface, texturing = (np.zeros((8, 4), np.float32) for _ in range(3))
        for i, m in enumerate(materials):
            base[i] = [*(np.asarray(m.colour) ** 2.2), m.mix]
            surface[i] = [m.roughness, m.metal, m.gloss, m.glow]
            texturing[i] = [m.layer, *m.repeat, 0]
        _uniform(self._shade, "base").write(base.tobytes())
        _uniform(self._shade, "surface").write(surface.tobytes())
        _uniform(self._shade, "texturing").write(texturing.tobytes())

    def render(self, intrinsics: Array, world_from_camera: Array) -> Rendered:
        """Draw the loaded scene from a camera: intrinsics (3, 3) pixels, pose (4, 4)."""
        projection = clip_from_camera(intrinsics, self.width, self.height)
        camera_from_world = np.linalg.inv(world_from_camera).astype(float)
        self._colour.use()
        self._colour.clear(0.2, 0.2, 0.2, 1.0, depth=1.0)
        self._bank.use(0)
        self._shadow_map.use(1)
        _uniform(self._shade, "clip_from_world").write(_bytes(projection @ camera_from_world))
        _uniform(self._shade, "eye").write(world_from_camera[:3, 3].astype(np.float32).tobytes())
        # The room last: objects hide much of it, and hidden fragments are not shaded.
        for index in [*range(1, len(self._drawn)), 0]:
            arrays, materials, pose, _ = self._drawn[index]
            _uniform(self._shade, "is_room").value = int(index == 0)
            _uniform(self._shade, "world_from_object").write(_bytes(pose))
            self._set_materials(materials)
            arrays[0].render()
        big = (self.height * SUPERSAMPLING, self.width * SUPERSAMPLING, 4)
        drawn = np.frombuffer(self._colour.read(components=4), np.uint8).reshape(big)[..., :3]
        colour = cv2.resize(drawn, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return self._render_labels(projection, camera_from_world, colour.astype(np.uint8))

    def _render_labels(self, projection: Array, camera_from_world: Array, colour: NDArray[np.uint8]) -> Rendered:
        self._labels.use()
        self._labels.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        _uniform(self._label, "clip_from_camera").write(_bytes(projection))
        for index in [*range(1, len(self._drawn)), 0]:
            arrays, _, pose, diagonal = self._drawn[index]
            _uniform(self._label, "camera_from_object").write(_bytes(camera_from_world @ pose))
            _uniform(self._label, "diagonal").value = diagonal
            _uniform(self._label, "instance").value = float(index)
            arrays[1].render()
        shape = (self.height, self.width, 4)
        nocs = np.frombuffer(self._labels.read(components=4, attachment=0), np.uint8).reshape(shape)
        geometry = np.frombuffer(self._labels.read(components=4, attachment=1, dtype="f4"), np.float32).reshape(shape)
        return Rendered(
            colour,
            nocs[..., :3].astype(np.float32) / np.float32(255),
            geometry[..., 0].copy(),
            np.round(geometry[..., 1]).astype(np.int32),
            np.round(geometry[..., 2]).astype(np.int32),
        )
