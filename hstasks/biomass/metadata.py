"""What is known of images beside the pictures, as numbers: everything is fitted on the training images of a fold."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hstasks.biomass.layout import TARGETS
from hstasks.biomass.params import Column
from hstasks.biomass.pictures import COMPLEXITY, STATISTICS

Floats = NDArray[np.float64]

_YEAR = 365.0
_SAID = {
    "id": "image_id",
    "date": "Sampling_Date",
    "state": "State",
    "species": "Species",
    "ndvi": "Pre_GSHH_NDVI",
    "height_cm": "Height_Ave_cm",
}
# Of the ridge that guesses metadata from a picture's colours, standardised.
_PENALTY = 10.0


@dataclass(frozen=True)
class Encoder:
    """From catalog rows to standardised columns; what is not known becomes the mean of the images it was fitted on.

    Attributes:
        columns: names of `Column`.
        values: the states and species that the training images have, by column.
        mean: of each number, over the training images that have it.
        std: the same; 1 where they do not differ.
        guess: weights (1 + statistics, numbers) of a ridge from the picture's colours; None: means are used.
        colours: mean and standard deviation of the colours, (2, statistics), that the ridge needs.
    """

    columns: tuple[Column, ...]
    values: Mapping[str, Sequence[str]]
    mean: Floats
    std: Floats
    guess: Floats | None = None
    colours: Floats | None = None

    @property
    def width(self) -> int:
        """How many numbers an image has."""
        return len(self.mean)

    def __call__(self, rows: pd.DataFrame) -> Floats:
        """(n, width): 0 is the mean of the training images."""
        raw = numbers(rows, self.columns, self.values)
        scaled = (raw - self.mean) / self.std
        filled = np.zeros_like(scaled)
        if self.guess is not None and self.colours is not None and np.isnan(scaled).any():
            colours = (rows[list(STATISTICS)].to_numpy(dtype=np.float64) - self.colours[0]) / self.colours[1]
            filled = np.nan_to_num(self.guess[0] + colours @ self.guess[1:])
        return np.where(np.isnan(scaled), filled, scaled)

    def plain(self) -> dict[str, Any]:
        """As plain values, for a record."""
        return {
            "columns": list(self.columns),
            "values": {name: list(values) for name, values in self.values.items()},
            "names": names(self.columns, self.values),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "guess": None if self.guess is None else self.guess.tolist(),
            "colours": None if self.colours is None else self.colours.tolist(),
        }


def described(rows: pd.DataFrame, encoder: Encoder) -> pd.DataFrame:
    """One row an image, as users of the published system know it: what the tables say, empty where they say nothing,
    the features of the picture, grams where they are known, and under `given NAME` what the network is given of each
    number, before it is standardised: never empty, nor 0 because it is not known."""
    own = [*_SAID, *COMPLEXITY]
    found = rows[own].rename(columns=_SAID)
    grams = sorted(name for name in TARGETS if not rows[name].isna().all())
    found = pd.concat([found, rows[grams]], axis=1)
    given = encoder(rows) * encoder.std + encoder.mean
    labels = names(encoder.columns, encoder.values)
    return pd.concat([found, pd.DataFrame(given, rows.index, [f"given {label}" for label in labels])], axis=1)


def fit(rows: pd.DataFrame, columns: Sequence[Column], *, predicted: bool = False) -> Encoder:
    """An encoder of the training images of a fold.

    Args:
        rows: catalog rows to learn from; no other is looked at.
        columns: what is taken.
        predicted: whether missing metadata are guessed from the picture by a ridge.
    """
    values = {name: sorted(set(rows[name]) - {""}) for name in ("state", "species")}
    raw = numbers(rows, columns, values)
    known = ~np.isnan(raw)
    count = known.sum(axis=0)
    if (count == 0).any():
        lacking = [name for name, some in zip(names(columns, values), count, strict=True) if not some]
        raise UserError(f"No training image has metadata for {', '.join(lacking)}: leave them out of metadata.columns.")
    mean = np.where(known, raw, 0.0).sum(axis=0) / count
    spread = np.sqrt(np.where(known, (raw - mean) ** 2, 0.0).sum(axis=0) / count)
    encoder = Encoder(tuple(columns), values, mean, np.where(spread > 0, spread, 1.0))
    if not predicted or not encoder.width:
        return encoder
    colours = rows[list(STATISTICS)].to_numpy(dtype=np.float64)
    scale = np.stack([colours.mean(axis=0), np.where(colours.std(axis=0) > 0, colours.std(axis=0), 1.0)])
    design = (colours - scale[0]) / scale[1]
    wanted = encoder(rows)
    weights = np.linalg.solve(design.T @ design + _PENALTY * np.eye(design.shape[1]), design.T @ wanted)
    guess = np.concatenate([wanted.mean(axis=0)[None], weights])
    return Encoder(encoder.columns, values, encoder.mean, encoder.std, guess, scale)


def restored(record: Mapping[str, Any]) -> Encoder:
    """The encoder of a record's plain values."""
    guess, colours = (None if record[name] is None else np.array(record[name]) for name in ("guess", "colours"))
    mean, std = np.array(record["mean"]), np.array(record["std"])
    return Encoder(tuple(record["columns"]), dict(record["values"]), mean, std, guess, colours)


def names(columns: Sequence[Column], values: Mapping[str, Sequence[str]]) -> list[str]:
    """The name of each number."""
    found: list[str] = []
    for column in columns:
        if column in ("state", "species"):
            found += [f"{column} {value}" for value in values[column]]
        else:
            found += ["season sin", "season cos"] if column == "season" else [column]
    return found


def numbers(rows: pd.DataFrame, columns: Sequence[Column], values: Mapping[str, Sequence[str]]) -> Floats:
    """(n, width) before standardising; NaN where it is not known. A state or species that the training images do not
    have is none of theirs; its published code is -1."""
    parts = [_column(rows, column, values).reshape(len(rows), -1) for column in columns]
    return np.concatenate([np.zeros((len(rows), 0)), *parts], axis=1)


def season(rows: pd.DataFrame) -> Floats:
    """(n, 2) sine and cosine of the day of the year; NaN where the date is not known."""
    days = [datetime.date.fromisoformat(text).timetuple().tm_yday if text else np.nan for text in rows["date"]]
    angle = 2.0 * np.pi * np.array(days, dtype=np.float64) / _YEAR
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def _column(rows: pd.DataFrame, column: Column, values: Mapping[str, Sequence[str]]) -> Floats:
    if column == "ndvi":
        return rows["ndvi"].to_numpy(dtype=np.float64)
    if column in ("height", "log_height"):
        height = rows["height_cm"].to_numpy(dtype=np.float64)
        return np.log1p(height) if column == "log_height" else height
    if column == "date":
        return np.array([datetime.date.fromisoformat(text).toordinal() if text else np.nan for text in rows["date"]])
    if column == "season":
        return season(rows)
    if column in ("state", "species"):
        known = list(values[column])
        table = np.array([[float(value == one) for one in known] for value in rows[column]]).reshape(-1, len(known))
        table[[not value for value in rows[column]]] = np.nan
        return table
    if column in ("state_code", "species_code"):
        order = sorted(value.lower() for value in values[column.removesuffix("_code")])
        codes = {value: number for number, value in enumerate(order)}
        return np.array([codes.get(str(value).lower(), -1.0) if value else np.nan for value in rows[column[:-5]]])
    return rows[column].to_numpy(dtype=np.float64)
