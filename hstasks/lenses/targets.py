"""The parameters of lenses as numbers that a network can learn: angles as spin 2, all in standard units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hsengine.base.wording import close_matches, some
from hstasks.lenses.layout import LENS_VALUES

Values = NDArray[np.float64]

ANGLES = {"ell_m": "ell_m_PA", "sh": "sh_PA", "ell_l": "ell_l_PA", "ell_s": "ell_s_PA"}
"""Columns of a strength and of its angle, in degrees from 0 to 180: strength · (cos 2θ, sin 2θ) is learned."""

_COS, _SIN = " cos", " sin"
_PLACES = ("srcx", "srcy")
# Not to be seen in a cut-out.
_UNSEEN = ("RA", "Dec")
COLUMNS = tuple(name for name in LENS_VALUES if name not in _UNSEEN)
"""The columns of a submission that can be predicted."""


@dataclass(frozen=True)
class Targets:
    """What a network of parameters gives, and how the columns of a submission become of it.

    Attributes:
        names: of the outputs: a column, or the strength of an angle with ` cos` or ` sin`.
        mean: of each over the training lenses; 0 of those whose sign turns with the image.
        std: about that mean.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def encoded(self, table: pd.DataFrame) -> Values:
        """(lenses, outputs) in standard units, NaN where a value is unknown."""
        return np.asarray((_raw(table, self.names) - self.mean) / self.std)

    def decoded(self, values: Values) -> pd.DataFrame:
        """A submission's columns of (lenses, outputs) in standard units; angles in degrees, 0 to 180."""
        raw = dict(zip(self.names, (np.asarray(values, np.float64) * self.std + self.mean).T, strict=True))
        columns: dict[str, Values] = {}
        for name in self.names:
            if name.endswith(_COS):
                strength = name.removesuffix(_COS)
                cos, sin = raw[name], raw[strength + _SIN]
                columns[strength] = np.hypot(cos, sin)
                columns[ANGLES[strength]] = np.degrees(np.arctan2(sin, cos)) / 2.0 % 180.0
            elif not name.endswith(_SIN):
                columns[name] = raw[name]
        return pd.DataFrame({name: columns[name] for name in COLUMNS if name in columns})

    def mirrored(self, values: Values, *, across: bool, down: bool) -> Values:
        """The values (outputs,) of an image that was mirrored left to right (`across`) or top to bottom (`down`).

        An angle's sign turns with each mirror, whichever axis it is measured from; a place's along its own axis.
        """
        signs = [
            -1.0 if name.endswith(_SIN) and across != down else
            -1.0 if (name == _PLACES[0] and across) or (name == _PLACES[1] and down) else 1.0
            for name in self.names
        ]  # fmt: skip
        return np.asarray(values * np.asarray(signs))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the model's record."""
        return {name: list(value) for name, value in asdict(self).items()}


def from_dict(content: Mapping[str, Any], source: str) -> Targets:
    """What `Targets.to_dict` described.

    Raises:
        UserError: it is incomplete.
    """
    try:
        return Targets(*(tuple(content[name]) for name in ("names", "mean", "std")))
    except (KeyError, TypeError) as error:
        raise UserError(f"The record of {source} does not say which parameters it gives ({error}).") from None


def check(columns: Sequence[str]) -> None:
    """See that columns can be asked for.

    Raises:
        UserError: one cannot.
    """
    for name in columns:
        if name not in COLUMNS:
            raise UserError(
                f"regress.columns: '{name}' is no parameter that can be predicted{close_matches(name, COLUMNS)}; they "
                f"are {', '.join(COLUMNS)}."
            )
    if lone := sorted({one for pair in ANGLES.items() for one in pair if one in columns and not {*pair} <= {*columns}}):
        raise UserError(f"regress.columns: {some(lone)}: a strength and its angle are predicted together.")


def fit(table: pd.DataFrame, columns: Iterable[str] | None = None) -> Targets:
    """The outputs for some columns, fitted on training lenses.

    Args:
        table: the columns of a submission, NaN where unknown.
        columns: those to predict; None: all that are known of two lenses at least.

    Raises:
        UserError: a column cannot be predicted or is known of no two lenses, or nothing is left.
    """
    wanted = list(COLUMNS) if columns is None else list(columns)
    check(wanted)
    names = [
        output for name in wanted if name not in ANGLES.values()
        for output in ((name + _COS, name + _SIN) if name in ANGLES else (name,))
    ]  # fmt: skip
    raw = _raw(table, names)
    known = {name: values[np.isfinite(values)] for name, values in zip(names, raw.T, strict=True)}
    # The spread of a constant is no unit.
    usable = [name for name in names if len(known[name]) > 1 and known[name].std() > 0.0]
    usable = [name for name in usable if _other(name) in (None, *usable)]
    if columns is not None and len(usable) < len(names):
        lacking = [name for name in names if name not in usable]
        raise UserError(f"regress.columns: {some(lacking)} of the training lenses are unknown or all the same.")
    if not usable:
        raise UserError("No parameter of the training lenses is known: parameters.fits beside the cut-outs has them.")
    centred = [0.0 if _turns(name) else float(known[name].mean()) for name in usable]
    spread = [float(np.sqrt(np.mean((known[name] - mean) ** 2))) for name, mean in zip(usable, centred, strict=True)]
    return Targets(tuple(usable), tuple(centred), tuple(spread))


def _raw(table: pd.DataFrame, names: Sequence[str]) -> Values:
    return np.stack([_output(table, name) for name in names], axis=1) if names else np.empty((len(table), 0))


def _output(table: pd.DataFrame, name: str) -> Values:
    for suffix, part in ((_COS, np.cos), (_SIN, np.sin)):
        if name.endswith(suffix):
            strength = name.removesuffix(suffix)
            angle = np.radians(table[ANGLES[strength]].to_numpy(np.float64))
            return np.asarray(table[strength].to_numpy(np.float64) * part(2.0 * angle))
    return np.asarray(table[name].to_numpy(np.float64))


def _turns(name: str) -> bool:
    return name.endswith((_COS, _SIN)) or name in _PLACES


def _other(name: str) -> str | None:
    """The output that an angle needs beside this one."""
    if name.endswith(_COS):
        return name.removesuffix(_COS) + _SIN
    return name.removesuffix(_SIN) + _COS if name.endswith(_SIN) else None
