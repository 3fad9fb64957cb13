"""From probabilities to masks: threshold, gate and rules, fitted on tiles other than those they are measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hsengine.base.errors import UserError
from hsengine.base.files import write_json
from hsengine.base.reading import parsed_json
from hstasks.salt.params import Postprocess
from hstasks.salt.score import score

FILE = "rules.json"

GRIDS: Mapping[str, tuple[Any, ...]] = {
    "threshold": (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
    "gate": (0.0, 0.3, 0.4, 0.5, 0.6, 0.7),
    "least": (0, 20, 60, 120),
}
"""Values that are tried where one is to be fitted."""


@dataclass(frozen=True)
class Tile:
    """What is said of a tile, and what is true.

    Attributes:
        id: its name.
        probability: (H, W) of salt.
        presence: probability that there is any.
        black: whether the image is all black.
        truth: (H, W) bool; None of a test tile.
        follows: the mask that follows from the tile above, (H, W) bool; None where that is not known.
    """

    id: str
    probability: NDArray[np.float32]
    presence: float
    black: bool
    truth: NDArray[np.bool_] | None = None
    follows: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Rules:
    """Every rule with its number; see `Postprocess`."""

    threshold: float
    gate: float
    least: int
    component: int
    fill: bool
    full_to_empty: bool
    black_to_empty: bool
    mosaic: bool

    def plain(self) -> dict[str, Any]:
        """For records."""
        return asdict(self)


BARE = Rules(0.5, 0.0, 0, 0, False, False, False, False)
"""A threshold of 0.5, and no rule."""


def mask_of(tile: Tile, rules: Rules) -> NDArray[np.bool_]:
    """The mask of a tile, (H, W); what is known of the tile above goes before all that is predicted."""
    if rules.mosaic and tile.follows is not None:
        return tile.follows
    empty = np.zeros(tile.probability.shape, dtype=np.bool_)
    if (tile.black and rules.black_to_empty) or tile.presence < rules.gate:
        return empty
    mask: NDArray[np.bool_] = tile.probability > rules.threshold
    if rules.fill:
        mask = ndimage.binary_fill_holes(mask)
    if rules.component:
        labels, count = ndimage.label(mask)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        sizes[0] = 0
        mask = (sizes >= rules.component)[labels]
    if mask.sum() < rules.least or (rules.full_to_empty and mask.all()):
        return empty
    return mask


def fixed(settings: Postprocess) -> Rules:
    """The rules as set; what is to be fitted does nothing yet."""
    return Rules(
        threshold=0.5 if settings.threshold == "fitted" else settings.threshold,
        gate=0.0 if settings.gate == "fitted" else settings.gate,
        least=0 if settings.least == "fitted" else settings.least,
        component=settings.component,
        fill=settings.fill,
        full_to_empty=settings.full_to_empty,
        black_to_empty=settings.black_to_empty,
        mosaic=settings.mosaic,
    )


def fitted(tiles: Sequence[Tile], settings: Postprocess) -> Rules:
    """The rules with the best metric on tiles whose truth is known.

    The mean over the neighbours of a value on its grid decides, not its own score, which a few tiles make noisy. The
    rules stay as they are (`fixed`) where the best ones gain no more than the standard error of their gain.
    """
    plain = fixed(settings)
    names = [name for name in GRIDS if getattr(settings, name) == "fitted"]
    known = [tile for tile in tiles if tile.truth is not None]
    if not names or not known:
        return plain
    axes = {name: GRIDS[name] if name in names else (getattr(plain, name),) for name in GRIDS}
    values = np.stack([_over_gates(known, plain, threshold, axes) for threshold in axes["threshold"]])
    sizes = [3 if name in names else 1 for name in GRIDS]
    smooth = ndimage.uniform_filter(values.mean(axis=-1), size=sizes, mode="nearest")
    best = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    before = tuple(axis.index(getattr(plain, name)) for name, axis in axes.items())
    gain = values[best] - values[before]
    if gain.sum() <= gain.std() * np.sqrt(len(gain)):
        return plain
    return replace(plain, **{name: axis[at] for (name, axis), at in zip(axes.items(), best, strict=True)})


def _over_gates(
    tiles: Sequence[Tile], plain: Rules, threshold: float, axes: Mapping[str, tuple[Any, ...]]
) -> NDArray[np.float64]:
    """The metric of each tile at a threshold, (gates, least sizes, tiles): a mask is made once, a gate empties it."""
    bare = replace(plain, threshold=threshold, gate=0.0, least=0)
    masks = [mask_of(tile, bare) for tile in tiles]
    scores = np.array([score(np.asarray(tile.truth), mask) for tile, mask in zip(tiles, masks, strict=True)])
    empty = np.array([0.0 if tile.truth is not None and tile.truth.any() else 1.0 for tile in tiles])
    # What follows from the tile above passes every gate.
    sure = np.array([plain.mosaic and tile.follows is not None for tile in tiles])
    there = np.where(sure, np.inf, [tile.presence for tile in tiles])
    pixels = np.where(sure, np.inf, [mask.sum() for mask in masks])
    return np.array(
        [
            [np.where((there >= gate) & (pixels >= least), scores, empty) for least in axes["least"]]
            for gate in axes["gate"]
        ]
    )


def save(rules: Rules, training: str, folder: Path) -> None:
    """Write fitted rules, with the identity of the training that they were fitted for, into a folder."""
    write_json(folder / FILE, {"training": training, "rules": rules.plain()})


def fitted_rules(folder: Path, training: str) -> Rules:
    """The rules that `evaluate` wrote into a folder for a training.

    Raises:
        UserError: there are none, or they are another training's.
    """
    file = folder / FILE
    try:
        written = parsed_json(file, "fitted rules of post-processing", "run 'hstasks evaluate' first.")
        rules, own = Rules(**written["rules"]), written["training"]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{file} has no rules of post-processing ({error}): run 'hstasks evaluate' first.") from None
    if own != training:
        raise UserError(f"The rules in {file} were fitted for another training: run 'hstasks evaluate' again.")
    return rules


def out_of_fit(tiles: Sequence[Tile], halves: Sequence[int], settings: Postprocess) -> list[Rules]:
    """For each tile, the rules fitted on the tiles of the other half.

    Args:
        tiles: held-out tiles.
        halves: 0 or 1 for each; tiles of one mosaic in one half.
        settings: what is fitted.
    """
    of = {half: fitted([t for t, h in zip(tiles, halves, strict=True) if h != half], settings) for half in (0, 1)}
    return [of[half] for half in halves]
