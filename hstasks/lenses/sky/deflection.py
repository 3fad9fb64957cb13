"""A singular isothermal ellipsoid with external shear (Kormann, Schneider and Bartelmann 1994, A&A 284, 285)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hstasks.lenses.sky import exact
from hstasks.lenses.sky.light import rotated

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Deflector:
    """A lens at the origin.

    Attributes:
        einstein: Einstein radius in arcsec.
        q: axis ratio of the mass, below 1.
        angle: of the mass's major axis from the x axis, in radians.
        shear: strength of the external shear.
        shear_angle: of the shear, in radians.
    """

    einstein: float
    q: float
    angle: float
    shear: float = 0.0
    shear_angle: float = 0.0

    def deflection(self, x: Values, y: Values) -> tuple[Values, Values]:
        """The angles by which light at (x, y) is deflected, all in arcsec."""
        f = math.sqrt(1.0 - self.q * self.q)
        u, v = rotated(x, y, self.angle)
        psi = np.maximum(np.sqrt(self.q**2 * u * u + v * v), 1e-9)
        factor = self.einstein * math.sqrt(self.q) / f
        along, across = factor * exact.atan(f * u / psi), factor * exact.atanh(f * v / psi)
        back_x, back_y = rotated(along, across, -self.angle)
        g1 = self.shear * math.cos(2.0 * self.shear_angle)
        g2 = self.shear * math.sin(2.0 * self.shear_angle)
        return back_x + g1 * x + g2 * y, back_y + g2 * x - g1 * y

    def source_plane(self, x: Values, y: Values) -> tuple[Values, Values]:
        """Where in the source plane the light seen at (x, y) comes from, in arcsec."""
        shift_x, shift_y = self.deflection(x, y)
        return x - shift_x, y - shift_y
