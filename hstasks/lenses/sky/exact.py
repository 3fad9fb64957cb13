"""Functions of arrays from +, -, *, / and sqrt alone: the same bits on every processor.

The vectorised functions of numpy differ in the last bit between kinds of processors. All are good to about 1e-15.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# ln 2 in two parts: the first has few bits, so that multiples of it are exact.
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10


def exp(x: Values) -> Values:
    """e to the x, for x between -700 and 700."""
    x = np.clip(x, -700.0, 700.0)
    power = np.rint(x * (1.0 / math.log(2.0)))
    rest = (x - power * _LN2_HIGH) - power * _LN2_LOW
    return np.ldexp(_series([1.0 / math.factorial(n) for n in range(14)], rest), power.astype(np.int32))


def log(x: Values) -> Values:
    """The natural logarithm of positive numbers."""
    mantissa, power = np.frexp(x)
    small = mantissa < math.sqrt(0.5)
    mantissa = np.where(small, 2.0 * mantissa, mantissa)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    fraction = 2.0 * s * _series([1.0 / (2 * n + 1) for n in range(12)], s * s)
    exponent = power - small.astype(np.float64)
    return np.asarray(exponent * _LN2_HIGH + (exponent * _LN2_LOW + fraction))


def power(x: Values, exponent: float) -> Values:
    """Positive numbers to a power."""
    return exp(exponent * log(x))


def atan(x: Values) -> Values:
    """The arc tangent."""
    for _ in range(3):
        x = x / (1.0 + np.sqrt(1.0 + x * x))
    return np.asarray(8.0 * x * _series([(-1.0) ** n / (2 * n + 1) for n in range(13)], x * x))


def atanh(x: Values) -> Values:
    """The inverse hyperbolic tangent of numbers between -1 and 1."""
    return 0.5 * log((1.0 + x) / (1.0 - x))


def angle(y: Values, x: Values) -> Values:
    """The angle of the point (x, y) from the x axis, between -pi and pi."""
    radius = np.sqrt(x * x + y * y)
    return 2.0 * atan(y / np.maximum(radius + x, 1e-12))


def cos(x: Values) -> Values:
    """The cosine."""
    turn = 2.0 * math.pi
    x = x - turn * np.rint(x / turn)
    return _series([(-1.0) ** n / math.factorial(2 * n) for n in range(15)], x * x)


def _series(coefficients: list[float], x: Values) -> Values:
    """The polynomial with these coefficients, the constant first."""
    total: Values = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total *= x
        total += coefficient
    return total
