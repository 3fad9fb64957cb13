import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hstasks.lenses.sky import exact, light
from hstasks.lenses.sky.deflection import Deflector
from hstasks.lenses.sky.objects import counts

X, Y = light.grid()


@given(st.lists(st.floats(-40.0, 40.0), min_size=1, max_size=20), st.floats(0.1, 40.0))
def test_exact_functions_agree_with_numpy(values: list[float], other: float) -> None:
    x = np.array(values) + 0.0
    np.testing.assert_allclose(exact.exp(x), np.exp(x), rtol=1e-15)
    np.testing.assert_allclose(exact.log(np.abs(x) + 1e-3), np.log(np.abs(x) + 1e-3), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(exact.atan(x), np.arctan(x), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(exact.atanh(x / 41.0), np.arctanh(x / 41.0), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(exact.cos(x), np.cos(x), atol=1e-13)
    np.testing.assert_allclose(exact.power(np.abs(x) + 0.1, 0.3), (np.abs(x) + 0.1) ** 0.3, rtol=1e-14)
    turn = exact.angle(np.full_like(x, other), x) - np.arctan2(other, x)
    np.testing.assert_allclose(np.cos(turn), 1.0, atol=1e-9)


@pytest.mark.parametrize(("re", "n"), [(0.3, 0.7), (0.4, 1.0), (0.3, 2.0), (0.25, 4.0)])
def test_profiles_have_unit_flux_half_of_it_inside_the_half_light_radius(re: float, n: float) -> None:
    image = light.sersic(X, Y, re, n, 0.7, 0.4)
    assert image.sum() == pytest.approx(1.0, abs=0.06)
    u, v = light.rotated(X, Y, 0.4)
    inside = 0.7 * u * u + v * v / 0.7 < re * re
    assert image[inside].sum() == pytest.approx(0.5, abs=0.04)


def test_flux_follows_the_magnitude() -> None:
    assert counts(27.0) == 1.0
    assert counts(20.0) / counts(22.5) == pytest.approx(10.0)


@pytest.mark.parametrize("wings", [0.0, 0.15])
def test_blur_keeps_the_flux_and_has_the_stated_width(wings: float) -> None:
    image = np.zeros((light.FINE, light.FINE))
    image[61, 61] = 3.0
    seen = light.seen(image, 0.7, wings)
    assert seen.sum() == pytest.approx(3.0)
    axis = (np.arange(41) - 20) * 0.2
    variance = (seen * axis[:, None] ** 2).sum() / 3.0
    sigma = 0.7 / 2.3548
    wanted = (1.0 - wings) * sigma**2 + wings * 4.0 * sigma**2 + 0.2**2 / 12.0
    assert variance == pytest.approx(wanted, rel=0.02)
    np.testing.assert_allclose(seen, seen.T, rtol=1e-12, atol=1e-15)


def test_a_round_lens_is_a_singular_isothermal_sphere() -> None:
    ax, ay = Deflector(1.3, 1.0 - 1e-9, 0.7).deflection(X, Y)
    away = np.hypot(X, Y) > 0.05
    np.testing.assert_allclose(ax[away], (1.3 * X / np.hypot(X, Y).clip(1e-9))[away], atol=1e-4)
    np.testing.assert_allclose(ay[away], (1.3 * Y / np.hypot(X, Y).clip(1e-9))[away], atol=1e-4)


def test_the_deflection_is_the_gradient_of_a_potential() -> None:
    step = 1e-4
    lens = Deflector(1.1, 0.7, 0.5, 0.05, 1.0)
    across = lens.deflection(X, Y + step)[0] - lens.deflection(X, Y - step)[0]
    along = lens.deflection(X + step, Y)[1] - lens.deflection(X - step, Y)[1]
    away = np.hypot(X, Y) > 0.3
    np.testing.assert_allclose(across[away], along[away], atol=1e-3 * step)


def test_a_source_behind_the_centre_becomes_a_ring() -> None:
    plane = Deflector(1.2, 1.0 - 1e-9, 0.0).source_plane(X, Y)
    image = light.sersic(*plane, 0.05, 1.0, 1.0, 0.0)
    radius = (image * np.hypot(X, Y)).sum() / image.sum()
    assert radius == pytest.approx(1.2, abs=0.02)


def test_a_small_source_is_magnified_as_theory_says() -> None:
    offset = 0.4
    plane_x, plane_y = Deflector(1.2, 1.0 - 1e-9, 0.0).source_plane(X, Y)
    image = light.sersic(plane_x - offset, plane_y, 0.08, 1.0, 1.0, 0.0)
    assert image.sum() == pytest.approx(2.0 * 1.2 / offset, rel=0.05)


def test_discs_and_tidal_arms_have_unit_sum() -> None:
    for arms in (None, (2, 0.8, math.radians(20.0), 1.0)):
        image = light.disc(X, Y, 0.8, 0.6, 0.3, arms, 1.2)
        assert image.sum() == pytest.approx(1.0) and image.min() >= 0.0
    assert light.tidal_arm(X, Y, 1.5, 0.2, 2.0).sum() == pytest.approx(1.0)
