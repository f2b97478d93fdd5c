# SPDX-License-Identifier: Apache-2.0
"""The MuJoCo world: a table, the objects of a scene and a floating parallel gripper.

World frame: z up, the table's top is z = 0, metres. The gripper moves along three slides whose axes are fixed for an
attempt, so its orientation is constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from seqpose_core.geometry import make_transform
from seqpose_core.grasping import Gripper
from train.grasp.convex_parts import convex_parts
from train.render.meshes import Array, Mesh

#: Mass of an object by category, kg.
MASS = {"bottle": 0.35, "bowl": 0.30, "camera": 0.45, "can": 0.35, "laptop": 1.4, "mug": 0.32}
#: Friction (slide, torsion, roll) of the objects and the table, and of the fingers' rubber pads.
_FRICTION, _PAD_FRICTION = (0.5, 0.005, 0.0005), (1.0, 0.02, 0.001)
#: Largest force of a finger, N.
GRIP_FORCE = 60.0
TIMESTEP = 0.002
_PARKED = (0.0, 0.0, 3.0)  # of the gripper while the scene settles


@dataclass(frozen=True)
class Body:
    """One object: category, mesh and initial pose (4, 4) in the world."""

    kind: str
    mesh: Mesh
    pose: Array


def _centre_of_mass(parts: Sequence[Array]) -> Array:
    """(3,) centre of mass of convex parts of equal density."""
    volumes, centres = [], []
    for vertices in parts:
        triangles = vertices[ConvexHull(vertices).simplices]
        apex = vertices.mean(axis=0)
        volume = np.abs(np.linalg.det(triangles - apex)) / 6
        volumes.append(volume.sum())
        centres.append(((triangles.sum(axis=1) + apex) / 4 * volume[:, None]).sum(axis=0))
    return np.sum(centres, axis=0) / np.sum(volumes)


def _add_object(spec: mujoco.MjSpec, name: str, body: Body) -> None:
    rotation, position = body.pose[:3, :3], body.pose[:3, 3]
    quaternion = Rotation.from_matrix(rotation).as_quat(scalar_first=True)
    node = spec.worldbody.add_body(name=name, pos=position, quat=quaternion)
    node.add_freejoint()
    parts = convex_parts(body.kind, body.mesh)
    mass, (x, y, z) = MASS[body.kind], body.mesh.extents
    node.explicitinertial = True
    node.mass = mass
    node.inertia = mass / 12 * np.array([y * y + z * z, x * x + z * z, x * x + y * y])
    node.ipos, node.iquat = _centre_of_mass(parts), np.array([1.0, 0, 0, 0])
    for number, vertices in enumerate(parts):
        mesh = spec.add_mesh(name=f"{name}_{number}", uservert=vertices.ravel())
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL  # thin parts have almost no volume
        node.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=mesh.name, friction=_FRICTION, condim=4)


def _add_gripper(spec: mujoco.MjSpec, gripper: Gripper) -> None:
    hand = spec.worldbody.add_body(name="hand", pos=_PARKED, gravcomp=1)
    _set_inertia(hand, 1.0)
    for axis in range(3):
        joint = hand.add_joint(name=f"slide_{axis}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=np.eye(3)[axis])
        _add_servo(spec, joint.name, 8000.0, 250.0, 400.0)
    boxes = gripper.swept_boxes(np.zeros(1), 0.0)
    for number, name in enumerate(("finger_0", "finger_1")):
        sign = (-1.0, 1.0)[number]
        finger = hand.add_body(name=name, gravcomp=1)
        _set_inertia(finger, 0.1)
        joint = finger.add_joint(
            name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, sign, 0], range=[0, gripper.opening / 2]
        )
        joint.limited = mujoco.mjtLimited.mjLIMITED_TRUE
        finger.add_geom(
            name=name,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=boxes.centre[0, number],
            size=boxes.half[0, number],
            friction=_PAD_FRICTION,
            condim=4,
        )
        _add_servo(spec, name, 4000.0, 60.0, GRIP_FORCE)
    hand.add_geom(name="palm", type=mujoco.mjtGeom.mjGEOM_BOX, pos=boxes.centre[0, 2], size=boxes.half[0, 2])
    together = spec.add_equality(name="together", type=mujoco.mjtEq.mjEQ_JOINT, name1="finger_0", name2="finger_1")
    together.objtype = mujoco.mjtObj.mjOBJ_JOINT
    together.data[:5] = [0, 1, 0, 0, 0]


def _set_inertia(body: mujoco.MjsBody, mass: float) -> None:
    body.explicitinertial = True
    body.mass, body.inertia = mass, np.full(3, 1e-3 * mass)


def _add_servo(spec: mujoco.MjSpec, joint: str, stiffness: float, damping: float, force: float) -> None:
    actuator = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    actuator.set_to_position(kp=stiffness, kv=damping)
    actuator.forcelimited = mujoco.mjtLimited.mjLIMITED_TRUE
    actuator.forcerange = [-force, force]


class World:
    """A simulated scene. ``data`` is MuJoCo's state; the objects are bodies 0 .. N-1 in the order given."""

    def __init__(self, bodies: Sequence[Body], gripper: Gripper) -> None:
        self.gripper, self.count = gripper, len(bodies)
        spec = mujoco.MjSpec()
        spec.option.timestep = TIMESTEP
        spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        spec.option.impratio = 10
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.worldbody.add_geom(
            name="table",
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[2, 2, 0.1],
            friction=_FRICTION,
            condim=4,
        )
        for number, body in enumerate(bodies):
            _add_object(spec, f"object_{number}", body)
        _add_gripper(spec, gripper)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        ids = [self.model.body(f"object_{i}").id for i in range(self.count)]
        self._objects = np.array(ids, dtype=int)
        self._hand = self.model.body("hand").id
        self._free = np.array([self.model.body_dofadr[i] for i in ids], dtype=int)
        fingers = [self.model.body(name).id for name in ("finger_0", "finger_1")]
        self._fingers = np.array(fingers)
        #: -1 table, 0 .. N-1 objects, N palm, N + 1 and N + 2 fingers
        owner = np.full(self.model.nbody, -1)
        owner[ids], owner[self._hand], owner[fingers] = np.arange(self.count), self.count, self.count + np.array([1, 2])
        self._owner = owner[self.model.geom_bodyid]
        self._start = self.data.qpos.copy()
        self.reset()

    def settle(self, seconds: float = 1.5) -> None:
        """Let the objects come to rest; :meth:`reset` returns to this state."""
        for step in range(round(seconds / TIMESTEP)):
            mujoco.mj_step(self.model, self.data)
            if step % 5 == 0:  # friction of the air: cylinders stop rolling
                for first in self._free:
                    self.data.qvel[first : first + 6] *= 0.98
        self._start = self.data.qpos.copy()
        self.reset()

    def reset(self) -> None:
        """Return to the settled state, at rest."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self._start
        mujoco.mj_forward(self.model, self.data)

    def object_pose(self, index: int) -> Array:
        """(4, 4) pose of an object in the world."""
        body = self._objects[index]
        return make_transform(self.data.xmat[body].reshape(3, 3), self.data.xpos[body])

    def gripper_parts(self) -> tuple[Array, float]:
        """Pose (4, 4) of the gripper frame in the world and the opening, metres."""
        pose = make_transform(self.data.xmat[self._hand].reshape(3, 3), self.data.xpos[self._hand])
        return pose, float(self.data.joint("finger_0").qpos[0] + self.data.joint("finger_1").qpos[0])

    def place_gripper(self, pose: Array, opening: float) -> None:
        """Put the gripper at a pose (4, 4) of its frame in the world, at rest, its servos holding it there."""
        self.model.body_pos[self._hand] = pose[:3, 3]
        self.model.body_quat[self._hand] = Rotation.from_matrix(pose[:3, :3]).as_quat(scalar_first=True)
        for name in ("finger_0", "finger_1"):
            self.data.joint(name).qpos = opening / 2
        self.command(np.zeros(3), opening)
        mujoco.mj_forward(self.model, self.data)

    def command(self, offset: Array, opening: float) -> None:
        """Set the servos: offset (3,) m from where the gripper was placed, in its frame, and the opening, metres."""
        self.data.ctrl[:3], self.data.ctrl[3:5] = offset, opening / 2

    def step(self) -> None:
        """Advance by one time step."""
        mujoco.mj_step(self.model, self.data)

    def touching(self) -> tuple[set[int], set[int]]:
        """What the gripper touches: indices (-1 the table) at the palm or either finger, and those at both fingers."""
        pairs = self._owner[self.data.contact.geom[: self.data.ncon]]
        hand = self.count
        a, b = pairs.min(axis=1, initial=hand), pairs.max(axis=1, initial=-1)
        mine = (b >= hand) & (a < hand)
        both = set(a[mine & (b == hand + 1)].tolist()) & set(a[mine & (b == hand + 2)].tolist())
        return set(a[mine].tolist()), both
