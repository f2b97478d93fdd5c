# SPDX-License-Identifier: Apache-2.0
"""Parametric instances of the six NOCS categories; :mod:`train.render.mesh_category` draws a seventh from mesh files.

Axes: y up; mug handle +x; camera lens +x, width along z; laptop base +x, lid -x, hinge along z. The origin is
the centre of the tight axis-aligned box for every category, also for mugs (handle included); relabelled
sets that centre mugs on the body axis differ from this by half the handle's reach.

Parts number the materials of an object; :data:`HANDLE_PART` is the mug's handle.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import Generator

from train.render.bottles import bottle
from train.render.bowls import bowl
from train.render.cameras import camera
from train.render.cans import can
from train.render.laptops import laptop
from train.render.meshes import Mesh
from train.render.mugs import HANDLE_PART, mug

__all__ = ["HANDLE_PART", "SHAPES", "Shape"]

Shape = Callable[[Generator], Mesh]

SHAPES: dict[str, Shape] = {
    "bottle": bottle,
    "bowl": bowl,
    "camera": camera,
    "can": can,
    "laptop": laptop,
    "mug": mug,
}
