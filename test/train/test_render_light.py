# SPDX-License-Identifier: Apache-2.0
"""Light and sensor: irradiance against integrals, tone, blur."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("moderngl")

from train.render.environments import (
    SIZE,
    analyse,
    from_panorama,
    harmonic_basis,
    irradiance_harmonics,
    light_balance,
    octahedral_directions,
    solid_angles,
)
from train.render.sensor import defocus, motion_blur


def test_solid_angles_cover_the_sphere_evenly() -> None:
    d, omega = octahedral_directions(), solid_angles()
    assert omega.sum() == pytest.approx(4 * np.pi)
    np.testing.assert_allclose(np.einsum("hw,hwc->c", omega, d), 0, atol=1e-6)
    # The integral of z^2 over the sphere is 4 pi / 3.
    assert (omega * d[..., 2] ** 2).sum() == pytest.approx(4 * np.pi / 3, rel=1e-3)


def test_irradiance_of_a_linear_sky_is_exact() -> None:
    # Radiance 1 + z/2: irradiance over pi at normal n is 1 + (2/3) n_z / 2.
    radiance = np.repeat(1 + 0.5 * octahedral_directions()[..., 2:], 3, axis=-1)
    coefficients = irradiance_harmonics(radiance)
    normals = np.array([[0, 0, 1.0], [0, 0, -1.0], [0.6, 0, 0.8]])
    expected = 1 + normals[:, 2] / 3
    np.testing.assert_allclose(harmonic_basis(normals) @ coefficients, np.repeat(expected[:, None], 3, 1), rtol=2e-3)


def test_a_lamp_becomes_the_light_that_casts_shadows() -> None:
    d = octahedral_directions()
    to = np.array([0.6, 0.0, 0.8])
    radiance = np.full((SIZE, SIZE, 3), 0.2, np.float32)
    radiance[d @ to > np.cos(np.radians(8))] = 50
    lamp = analyse("lamp", radiance)
    assert np.degrees(np.arccos(lamp.direction @ to)) < 2
    assert lamp.spread < np.radians(9)
    up = harmonic_basis(np.array([0, 0, 1.0])) @ lamp.harmonics + lamp.irradiance * lamp.direction[2]
    np.testing.assert_allclose(up.mean(), 1, rtol=1e-6)
    # The disc's irradiance is 50 pi sin^2(8 deg), the sky's 0.2 pi (times the cosine towards up).
    disc = 50 * np.sin(np.radians(8)) ** 2
    np.testing.assert_allclose(lamp.irradiance[0] * 0.8, disc * 0.8 / (disc * 0.8 + 0.2), rtol=0.08)


def test_the_top_row_of_a_panorama_is_the_zenith() -> None:
    panorama = np.zeros((64, 128, 3), np.float32)
    panorama[:32] = 1
    upper = from_panorama(panorama)[..., 0]
    z = octahedral_directions()[..., 2]
    assert (upper[z > 0.1] == 1).all()
    assert (upper[z < -0.1] == 0).all()


def test_motion_blur_smears_along_the_motion_by_its_length() -> None:
    image = np.zeros((48, 64, 3), np.float32)
    image[:, 32] = 1
    depth = np.ones((48, 64), np.float32)
    intrinsics = np.array([[100.0, 0, 31.5], [0, 100, 23.5], [0, 0, 1]])
    moved = np.eye(4)
    moved[0, 3] = 0.06  # 6 pixels at 1 m
    blurred = motion_blur(image, depth, intrinsics, moved)
    columns = np.nonzero(blurred[24, :, 0] > 0.02)[0]
    assert 5 <= np.ptp(columns) <= 8
    assert blurred[24, :, 0].sum() == pytest.approx(1, rel=0.02)
    moved = np.eye(4)
    moved[1, 3] = 0.06  # along the line: nothing changes
    np.testing.assert_allclose(motion_blur(image, depth, intrinsics, moved), image, atol=1e-6)


def test_only_what_is_out_of_focus_is_blurred() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((40, 80, 3), dtype=np.float32)
    depth = np.full((40, 80), 0.5, np.float32)
    depth[:, 40:] = 3.0
    result = defocus(image, depth, aperture=1.5, focus=0.5)
    np.testing.assert_array_equal(result[:, :30], image[:, :30])
    assert result[:, 50:].std() < 0.6 * image[:, 50:].std()


def test_white_balance_removes_most_of_a_coloured_light() -> None:
    # An even sky of this colour gives irradiance over pi of this colour; 0.75 of its log is removed.
    sky = np.array([1.4, 1.0, 0.6], np.float32)
    balanced = sky * light_balance(analyse("sky", np.broadcast_to(sky, (SIZE, SIZE, 3)).copy()))
    np.testing.assert_allclose(balanced / balanced[1], sky**0.25, rtol=0.01)
