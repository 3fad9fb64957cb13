"""From spectra to colour: CIE XYZ, linear and encoded sRGB, CIELAB.

The standard observer and illuminant D65 are tabulated in `tables/cie.csv`. A cube is rendered from its
bands of 400 to 700 nm; everything linear in it is one matrix of (3, bands), see `srgb_weights`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsengine.base.errors import UserError

__loads__ = ("hsdata/tables/cie.csv",)

VISIBLE: Final = (400.0, 700.0)
"""The wavelengths in nm, both included, that a render takes its light from."""

XYZ_TO_RGB: Final[NDArray[np.float64]] = np.array(
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
)
"""Linear sRGB of CIE XYZ with Y = 1 for white (IEC 61966-2-1, rounded as published there)."""

RGB_TO_XYZ: Final[NDArray[np.float64]] = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
"""CIE XYZ of linear sRGB (IEC 61966-2-1)."""

WHITE_D65: Final[NDArray[np.float64]] = np.array([0.3127 / 0.3290, 1.0, (1.0 - 0.3127 - 0.3290) / 0.3290])
"""CIE XYZ of D65, chromaticity (0.3127, 0.3290), Y = 1: the white of CIELAB."""

# The sRGB transfer function: slope below the threshold, then (1 + a) x^(1/gamma) - a.
SRGB_THRESHOLD: Final = 0.0031308
SRGB_SLOPE: Final = 12.92
SRGB_OFFSET: Final = 0.055
SRGB_GAMMA: Final = 2.4
# Where the inverse changes over, in encoded values.
SRGB_ENCODED_THRESHOLD: Final = 0.04045

# CIELAB: the cube root above the first, a line of the second's slope below.
LAB_THRESHOLD: Final = (6.0 / 29.0) ** 3
LAB_SLOPE: Final = (29.0 / 6.0) ** 2 / 3.0

for _constant in (XYZ_TO_RGB, RGB_TO_XYZ, WHITE_D65):
    _constant.flags.writeable = False


class Tables(NamedTuple):
    """The CIE tables at 1 nm.

    Attributes:
        wavelengths: (401,) nm, 380 to 780.
        cmf: (3, 401) colour matching functions x, y, z of the CIE 1931 2 degree observer.
        d65: (401,) relative power of illuminant D65.
    """

    wavelengths: NDArray[np.float64]
    cmf: NDArray[np.float64]
    d65: NDArray[np.float64]


@cache
def tables() -> Tables:
    """The CIE tables, read once; the arrays are read-only."""
    with (files("hsdata") / "tables" / "cie.csv").open(encoding="utf-8") as stream:
        lines = [line for line in stream if not line.startswith("#")]
    columns = np.loadtxt(lines[1:], delimiter=",", dtype=np.float64).T
    columns.flags.writeable = False
    return Tables(columns[0], columns[1:4], columns[4])


def xyz_weights(wavelengths: ArrayLike) -> NDArray[np.float64]:
    """CIE XYZ under D65 as a matrix on the bands; a perfect white gets Y = 1.

    XYZ = k Σ R E cmf w with w the gradient of the bands' wavelengths, k = 1 / Σ E ȳ w, over the bands of
    `VISIBLE`, the tables taken at those wavelengths.

    Args:
        wavelengths: (bands,) band centres in nm, in any order.

    Returns:
        (3, bands), zero for bands outside `VISIBLE`.

    Raises:
        UserError: fewer than two different bands are visible.
    """
    bands = np.asarray(wavelengths, dtype=np.float64).reshape(-1)
    order = np.argsort(bands, kind="stable")
    low, high = VISIBLE
    visible = order[(bands[order] >= low - 1e-3) & (bands[order] <= high + 1e-3)]
    centres = bands[visible]
    if len(np.unique(centres)) < 2:
        raise UserError(
            f"Colour needs at least two bands between {low:g} and {high:g} nm, this cube has {len(np.unique(centres))} "
            f"of its {len(bands)}: check its wavelengths, which must be in nm."
        )
    table = tables()
    matching = np.stack([np.interp(centres, table.wavelengths, curve) for curve in table.cmf]) * light(centres)
    weights = np.zeros((3, len(bands)))
    weights[:, visible] = matching / matching[1].sum()
    return weights


def light(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative power of D65 in each band, (bands,): at its centre in nm times its width.

    The width is the gradient of the centres in ascending order. Beyond the table, 380 to 780 nm, the power
    of its ends is held.
    """
    table = tables()
    order = np.argsort(centres, kind="stable")
    width = np.empty(len(centres))
    width[order] = np.gradient(centres[order]) if len(centres) > 1 else 1.0
    power: NDArray[np.float64] = np.interp(centres, table.wavelengths, table.d65) * width
    return power


def srgb_weights(wavelengths: ArrayLike) -> NDArray[np.float64]:
    """Linear sRGB under D65 as a matrix on the bands, (3, bands); see `xyz_weights`."""
    return XYZ_TO_RGB @ xyz_weights(wavelengths)


def project(values: NDArray[np.floating], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Weighted sums over the bands, in float32.

    Args:
        values: (bands, ...) reflectance.
        weights: (channels, bands).

    Returns:
        (channels, ...) float32. Bands without weight are not touched, and nothing of the cube is copied
        beside one band at a time.
    """
    total = np.zeros((len(weights), *values.shape[1:]), dtype=np.float32)
    product = np.empty(values.shape[1:], dtype=np.float32)
    # Band by band, not by a BLAS product: the order of the sums, and so the result's last bit, is then the
    # same on every processor.
    for band in np.flatnonzero(weights.any(axis=0)):
        for channel, weight in enumerate(weights[:, band].astype(np.float32)):
            np.multiply(values[band], weight, out=product, casting="same_kind")
            total[channel] += product
    return total


def to_xyz(values: NDArray[np.floating], wavelengths: ArrayLike) -> NDArray[np.float32]:
    """CIE XYZ (3, ...) under D65, Y = 1 for white, of reflectance (bands, ...); see `xyz_weights`."""
    return project(values, xyz_weights(wavelengths))


def to_linear_rgb(values: NDArray[np.floating], wavelengths: ArrayLike) -> NDArray[np.float32]:
    """Linear sRGB (3, ...) of reflectance (bands, ...): at least 0, above 1 where brighter than white."""
    linear = project(values, srgb_weights(wavelengths))
    return np.maximum(linear, 0.0, out=linear)


def to_srgb(values: NDArray[np.floating], wavelengths: ArrayLike) -> NDArray[np.float32]:
    """Encoded sRGB (3, ...) in [0, 1] of reflectance (bands, ...), as a viewer under D65 sees it.

    Raises:
        UserError: see `xyz_weights`.
    """
    return encode(to_linear_rgb(values, wavelengths))


def encode(linear: NDArray[np.floating]) -> NDArray[np.float32]:
    """sRGB transfer of linear values of any shape, float32 clipped to [0, 1]."""
    # Clipping first gives the same result, as the curve rises from 0 at 0 to 1 at 1. In double precision:
    # the last bit of a single-precision power differs between processors, and with it rounded pictures.
    bounded = np.clip(linear, 0.0, 1.0).astype(np.float64, copy=False)
    curved = (1.0 + SRGB_OFFSET) * bounded ** (1.0 / SRGB_GAMMA) - SRGB_OFFSET
    encoded = np.where(bounded <= SRGB_THRESHOLD, bounded * SRGB_SLOPE, curved)
    single: NDArray[np.float32] = np.clip(encoded, 0.0, 1.0, out=encoded).astype(np.float32)
    return single


def decode(encoded: NDArray[np.floating]) -> NDArray[np.float32]:
    """Linear values of sRGB-encoded ones in [0, 1], of any shape: the inverse of `encode`."""
    values = np.asarray(encoded, dtype=np.float32)
    curved = ((np.maximum(values, 0.0) + SRGB_OFFSET) / (1.0 + SRGB_OFFSET)) ** SRGB_GAMMA
    linear: NDArray[np.float32] = np.where(values <= SRGB_ENCODED_THRESHOLD, values / SRGB_SLOPE, curved)
    return linear.astype(np.float32, copy=False)


def xyz_to_lab(xyz: NDArray[np.floating], white: NDArray[np.floating] = WHITE_D65) -> NDArray[np.float64]:
    """CIELAB (3, ...) of CIE XYZ (3, ...); `white` (3,) has the coordinates of L* = 100."""
    relative = np.asarray(xyz, dtype=np.float64) / np.asarray(white).reshape(3, *[1] * (np.ndim(xyz) - 1))
    curved = np.cbrt(relative)
    f = np.where(relative > LAB_THRESHOLD, curved, LAB_SLOPE * relative + 4.0 / 29.0)
    return np.stack([116.0 * f[1] - 16.0, 500.0 * (f[0] - f[1]), 200.0 * (f[1] - f[2])])


def srgb_to_lab(rgb: NDArray[np.floating]) -> NDArray[np.float64]:
    """CIELAB (3, ...) of encoded sRGB (3, ...) in [0, 1]."""
    xyz = np.tensordot(RGB_TO_XYZ, decode(rgb).astype(np.float64), axes=(1, 0))
    return xyz_to_lab(xyz)
