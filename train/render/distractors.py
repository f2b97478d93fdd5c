# SPDX-License-Identifier: Apache-2.0
"""Distractors by kind: objects that belong to no category (meta class 0).

y is up, the origin is the box centre, lengths are metres; ``Mesh.surfaces`` lists the material of each part.
"""

from __future__ import annotations

from train.render import clutter_home as home
from train.render import clutter_office as office
from train.render import clutter_paper as paper
from train.render import clutter_tools as tools
from train.render import clutter_toys as toys
from train.render.shapes import Shape

DISTRACTORS: dict[str, Shape] = {
    "box": paper.small_box,
    "cereal_box": paper.cereal_box,
    "flat_box": paper.flat_box,
    "tissue_box": paper.tissue_box,
    "carton": paper.carton,
    "book": paper.book,
    "book_stack": paper.book_stack,
    "paper_stack": paper.paper_stack,
    "notebook": paper.notebook,
    "paper_sheet": paper.paper_sheet,
    "tag_board": paper.tag_board,
    "tag_cube": paper.tag_cube,
    "bag": paper.bag,
    "hammer": tools.hammer,
    "screwdriver": tools.screwdriver,
    "pliers": tools.pliers,
    "scissors": tools.scissors,
    "drill": tools.drill,
    "clamp": tools.clamp,
    "wrench": tools.wrench,
    "cutlery": tools.cutlery,
    "stapler": tools.stapler,
    "tape_roll": tools.tape_roll,
    "cable": tools.cable,
    "battery": tools.battery,
    "pens": tools.pens,
    "monitor": office.monitor,
    "keyboard": office.keyboard,
    "computer_mouse": office.computer_mouse,
    "phone": office.phone,
    "tablet": office.tablet,
    "remote": office.remote,
    "speaker": office.speaker,
    "lamp": office.lamp,
    "headphones": office.headphones,
    "fruit": home.fruit,
    "banana": home.banana,
    "ball": toys.ball,
    "plate": home.plate,
    "tumbler": home.tumbler,
    "stem_glass": home.stem_glass,
    "vase": home.vase,
    "plant": home.plant,
    "brick": toys.brick,
    "toy_cubes": toys.toy_cubes,
    "toy_duck": toys.toy_duck,
    "teddy": toys.teddy,
    "cloth": home.cloth,
    "shoe": home.shoe,
    "pitcher": home.pitcher,
    "paper_towel": home.paper_towel,
    "candle": home.candle,
    "hand": home.hand,
}
