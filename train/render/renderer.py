# SPDX-License-Identifier: Apache-2.0
"""The moderngl renderer: radiance with shadows and reflections, and exact labels, on EGL without a display."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import moderngl
import numpy as np
from numpy.typing import NDArray

from train.render import shaders
from train.render.device import clip_from_camera, column_major, create_context, uniform
from train.render.environments import EnvironmentBank
from train.render.mesh_cache import MeshCache, UploadedMesh
from train.render.meshes import Array
from train.render.scene import PlacedObject, Scene
from train.render.surfaces import Material
from train.render.textures import TextureBank

SUPERSAMPLING = 1.5
SHADOW_SIZE = 1024
SHADOW_REACH = 0.75  # metres about the scene's centre that the shadow map covers
CONTACT_SIZE = 128
CONTACT_REACH = 0.6  # metres about the scene's centre that the contact shading covers
WHITE = 4.0  # stored radiance over exposure, see shaders.FRAGMENT


@dataclass(frozen=True)
class Rendered:
    """One view.

    radiance (H, W, 3) float32 linear, white paper about 1; nocs (H, W, 3) float32 in 0..1; depth (H, W) float32
    m along z; instances (H, W) int, 1 + index of the scene's object, 0 elsewhere; parts (H, W) int."""

    radiance: NDArray[np.float32]
    nocs: NDArray[np.float32]
    depth: NDArray[np.float32]
    instances: NDArray[np.int32]
    parts: NDArray[np.int32]


def _contact_shading(heights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Openness (CONTACT_SIZE, CONTACT_SIZE) of the table under a height map (m): near and tall objects darken it."""
    texel = 2 * CONTACT_REACH / CONTACT_SIZE
    closed = np.zeros_like(heights)
    for level, share in ((0.004, 0.35), (0.03, 0.3), (0.09, 0.25)):
        covered = (heights > level).astype(np.float32)
        closed += share * cv2.GaussianBlur(covered, (0, 0), max(0.6, 0.9 * level / texel))
    return np.round(255 * (1 - np.clip(closed, 0, 1))).astype(np.uint8)


@dataclass(frozen=True)
class _Drawn:
    uploaded: UploadedMesh
    materials: list[Material]
    item: PlacedObject | None  # None: the room
    diagonal: float

    def pose_at(self, time: float) -> Array:
        return np.eye(4) if self.item is None else self.item.pose_at(time)

    def clear_parts(self) -> list[int]:
        return [part for part in self.uploaded.ranges if self.materials[part].transmission > 0]


class Renderer:
    """Owns the context, the pool's textures and environments on the device and a cache of meshes."""

    def __init__(
        self, bank: TextureBank, environments: EnvironmentBank, width: int, height: int, cached_meshes: int = 600
    ) -> None:
        self.width, self.height = width, height
        self._environments = environments.environments
        self.context = context = create_context()
        self._shade = context.program(shaders.VERTEX, shaders.FRAGMENT)
        self._label = context.program(shaders.LABEL_VERTEX, shaders.LABEL_FRAGMENT)
        self._shadow = context.program(shaders.SHADOW_VERTEX, shaders.SHADOW_FRAGMENT)
        layers = bank.layers
        padded = np.concatenate([layers, np.full((*layers.shape[:3], 1), 255, np.uint8)], axis=-1)
        self._mean_colours = (layers.astype(np.float32).mean(axis=(1, 2)) / 255) ** 2
        self._textures = [self._array(padded), self._array(environments.layers)]
        self._textures[1].repeat_x = self._textures[1].repeat_y = False
        self._big = (round(width * SUPERSAMPLING), round(height * SUPERSAMPLING))
        self._colour = context.framebuffer([context.renderbuffer(self._big, 4)], context.depth_renderbuffer(self._big))
        self._behind = context.texture(self._big, 4)
        self._behind.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self._behind.repeat_x = self._behind.repeat_y = False
        self._labels = context.framebuffer(
            [context.texture((width, height), 4), context.texture((width, height), 4, dtype="f4")],
            context.depth_renderbuffer((width, height)),
        )
        self._shadow_map = context.depth_texture((SHADOW_SIZE, SHADOW_SIZE))
        self._shadow_map.compare_func = "<="
        self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
        self._shadow_map.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self._shadow_buffer = context.framebuffer(depth_attachment=self._shadow_map)
        heights = context.depth_texture((CONTACT_SIZE, CONTACT_SIZE))
        self._height_buffer = context.framebuffer(depth_attachment=heights)
        self._contact = context.texture((CONTACT_SIZE, CONTACT_SIZE), 1)
        self._contact.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self._contact.repeat_x = self._contact.repeat_y = False
        self._meshes = MeshCache(context, self._shade, self._label, self._shadow, cached_meshes)
        self._drawn: list[_Drawn] = []
        context.enable(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
        context.front_face = "cw"  # meshes are counter-clockwise, and the projection mirrors y
        for slot, name in enumerate(("bank", "shadow_map", "environments", "contact", "behind")):
            uniform(self._shade, name).value = slot
        uniform(self._shade, "contact_reach").value = CONTACT_REACH
        uniform(self._shade, "screen").value = self._big

    def _array(self, layers: NDArray[np.uint8]) -> moderngl.TextureArray:
        texture = self.context.texture_array((layers.shape[2], layers.shape[1], len(layers)), 4, layers.tobytes())
        texture.build_mipmaps()
        texture.filter = (moderngl.LINEAR_MIPMAP_NEAREST, moderngl.LINEAR)
        return texture

    def load(self, scene: Scene) -> None:
        """Upload a scene and draw its shadow map and contact shading; :meth:`render` then draws views of it."""
        with self.context:
            self._load(scene)

    def _load(self, scene: Scene) -> None:
        self._meshes.free("room")
        self._drawn = [_Drawn(self._meshes.upload("room", scene.room.mesh), scene.room.materials, None, 1.0)]
        for item in scene.objects:
            diagonal = float(np.linalg.norm(item.mesh.extents))
            self._drawn.append(_Drawn(self._meshes.upload(item.model, item.mesh), item.materials, item, diagonal))
        c, s = np.cos(scene.environment_yaw), np.sin(scene.environment_yaw)
        environment = self._environments[scene.environment]
        # The shader rotates world directions by yaw for the lookup, so the light direction is rotated by -yaw.
        x, y, z = environment.direction
        towards = np.array([c * x + s * y, c * y - s * x, z])
        light = np.eye(4)
        right = np.cross([0.0, 0.0, 1.0], towards)
        right /= np.linalg.norm(right)
        light[:3, :3] = np.stack([right, np.cross(towards, right), -towards]) / SHADOW_REACH
        self._draw_depth(self._shadow_buffer, light)
        above = np.diag([1 / CONTACT_REACH, 1 / CONTACT_REACH, -2.0, 1.0])  # depth = 1 - height
        above[2, 3] = 1.0
        self._draw_depth(self._height_buffer, above)
        depth = np.frombuffer(self._height_buffer.read(attachment=-1, dtype="f4", components=1), np.float32)
        self._contact.write(_contact_shading(1 - depth.reshape(CONTACT_SIZE, CONTACT_SIZE)).tobytes())
        self._set_light(scene, light, towards)

    def _draw_depth(self, target: moderngl.Framebuffer, clip_from_world: Array) -> None:
        target.use()
        target.clear(depth=1.0)
        self.context.disable(moderngl.CULL_FACE)
        for drawn in self._drawn[1:]:
            if drawn.item is not None and not drawn.item.moving:
                uniform(self._shadow, "light_from_object").write(column_major(clip_from_world @ drawn.pose_at(0.0)))
                drawn.uploaded.shadow.render()
        self.context.enable(moderngl.CULL_FACE)

    def _set_light(self, scene: Scene, light: Array, towards: Array) -> None:
        program = self._shade
        environment = self._environments[scene.environment]
        key = environment.irradiance * scene.key_gain
        harmonics = environment.harmonics * scene.ambient_gain
        up = harmonics[0] + harmonics[2] + 2 * harmonics[6]
        total = up + key * max(0.0, float(towards[2]))
        table = scene.room.materials[0]
        albedo = np.asarray(table.colour) ** 2.2
        albedo = albedo * (1 - table.mix + table.mix * self._mean_colours[table.layer])
        vectors = {
            "harmonics": harmonics,
            "environment_yaw": [np.cos(scene.environment_yaw), np.sin(scene.environment_yaw)],
            "key_direction": towards,
            "key_light": key,
            "table_light": albedo * total * 0.8,
        }
        for name, value in vectors.items():
            uniform(program, name).write(np.asarray(value, np.float32).tobytes())
        self._exposure = 0.9 / max(0.05, float(total.mean()))
        uniform(program, "layer").value = float(scene.environment)
        uniform(program, "softness").value = scene.shadow_softness
        uniform(program, "exposure").value = self._exposure
        uniform(program, "light_from_world").write(column_major(light))

    def _set_object(self, drawn: _Drawn, time: float) -> None:
        base, surface, texturing, clear = (np.zeros((shaders.MATERIALS, 4), np.float32) for _ in range(4))
        for i, m in enumerate(drawn.materials):
            base[i] = [*(np.asarray(m.colour) ** 2.2), m.mix]
            surface[i] = [m.roughness, m.metal, m.gloss, m.glow]
            texturing[i] = [m.layer, *m.repeat, float(m.backdrop)]
            clear[i] = [m.transmission, m.absorption, 0, 0]
        for name, value in (("base", base), ("surface", surface), ("texturing", texturing), ("clear", clear)):
            uniform(self._shade, name).write(value.tobytes())
        liquid = (1.0, 1.0, 1.0, -10.0) if drawn.item is None else drawn.item.liquid
        uniform(self._shade, "liquid").value = liquid
        uniform(self._shade, "is_room").value = int(drawn.item is None)
        uniform(self._shade, "world_from_object").write(column_major(drawn.pose_at(time)))

    def render(self, intrinsics: Array, world_from_camera: Array, time: float = 0.0) -> Rendered:
        """Draw the loaded scene from a camera: intrinsics (3, 3) pixels, pose (4, 4), ``time`` s of moving objects."""
        with self.context:  # another context of the process may be current
            return self._render(intrinsics, world_from_camera, time)

    def _render(self, intrinsics: Array, world_from_camera: Array, time: float) -> Rendered:
        projection = clip_from_camera(intrinsics, self.width, self.height)
        camera_from_world = np.linalg.inv(world_from_camera).astype(float)
        self._colour.use()
        self._colour.clear(0.2, 0.2, 0.2, 1.0, depth=1.0)
        self._textures[0].use(0)
        self._shadow_map.use(1)
        self._textures[1].use(2)
        self._contact.use(3)
        self._behind.use(4)
        uniform(self._shade, "clip_from_world").write(column_major(projection @ camera_from_world))
        for name, column in (("eye", 3), ("view_right", 0), ("view_down", 1)):
            uniform(self._shade, name).write(world_from_camera[:3, column].astype(np.float32).tobytes())
        uniform(self._shade, "clear_pass").value = 0
        # The room is drawn last: objects hide much of it, and hidden fragments are not shaded.
        clear = [drawn for drawn in self._drawn if drawn.clear_parts()]
        for drawn in [*self._drawn[1:], self._drawn[0]]:
            self._set_object(drawn, time)
            if not drawn.clear_parts():
                drawn.uploaded.shade.render()
                continue
            self.context.disable(moderngl.CULL_FACE)  # the inside of a label is visible through the glass
            for part, (first, count) in drawn.uploaded.ranges.items():
                if drawn.materials[part].transmission == 0:
                    drawn.uploaded.shade.render(vertices=count, first=first)
            self.context.enable(moderngl.CULL_FACE)
        if clear:
            self._draw_clear(clear, time)
        stored = np.frombuffer(self._colour.read(components=4), np.uint8).reshape(self._big[1], self._big[0], 4)
        small = cv2.resize(stored, (self.width, self.height), interpolation=cv2.INTER_AREA)[..., :3]
        radiance = np.square(small.astype(np.float32) / np.float32(255)) * np.float32(WHITE)
        return self._render_labels(projection, camera_from_world, radiance, time)

    def _draw_clear(self, clear: list[_Drawn], time: float) -> None:
        """Transparent parts: far sides blended, then near sides that refract a copy of the image."""
        context = self.context
        context.enable(moderngl.BLEND)
        context.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self._colour.depth_mask = False
        context.cull_face = "front"
        self._draw_clear_parts(clear, time, 1)
        context.disable(moderngl.BLEND)
        self._colour.depth_mask = True
        context.cull_face = "back"
        self._behind.write(self._colour.read(components=4))
        self._draw_clear_parts(clear, time, 2)

    def _draw_clear_parts(self, clear: list[_Drawn], time: float, number: int) -> None:
        uniform(self._shade, "clear_pass").value = number
        for drawn in clear:
            self._set_object(drawn, time)
            for part in drawn.clear_parts():
                first, count = drawn.uploaded.ranges[part]
                drawn.uploaded.shade.render(vertices=count, first=first)

    def _render_labels(
        self, projection: Array, camera_from_world: Array, radiance: NDArray[np.float32], time: float
    ) -> Rendered:
        self._labels.use()
        self._labels.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        uniform(self._label, "clip_from_camera").write(column_major(projection))
        for index in [*range(1, len(self._drawn)), 0]:
            drawn = self._drawn[index]
            uniform(self._label, "camera_from_object").write(column_major(camera_from_world @ drawn.pose_at(time)))
            uniform(self._label, "diagonal").value = drawn.diagonal
            uniform(self._label, "instance").value = float(index)
            drawn.uploaded.label.render()
        shape = (self.height, self.width, 4)
        nocs = np.frombuffer(self._labels.read(components=4, attachment=0), np.uint8).reshape(shape)
        geometry = np.frombuffer(self._labels.read(components=4, attachment=1, dtype="f4"), np.float32).reshape(shape)
        return Rendered(
            radiance,
            nocs[..., :3].astype(np.float32) / np.float32(255),
            geometry[..., 0].copy(),
            np.round(geometry[..., 1]).astype(np.int32),
            np.round(geometry[..., 2]).astype(np.int32),
        )
