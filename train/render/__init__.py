# SPDX-License-Identifier: Apache-2.0
"""Procedural table-top clips in the NOCS layout: meshes, textures, scenes, motion, renderer, writer."""
