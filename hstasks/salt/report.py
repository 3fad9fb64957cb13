"""The stage `report`: the scores of the held-out tiles at any threshold, and tiles to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hsengine.base import paths
from hsengine.report import content
from hsengine.report.page import Section, packed
from hsengine.report.pictures import picture
from hstasks.report import page as pages
from hstasks.report.page import PARAMS, Own, Summary
from hstasks.salt import evaluate
from hstasks.salt.division import divided
from hstasks.salt.params import Params
from hstasks.salt.postprocess import Rules, Tile, fitted_rules
from hstasks.salt.prediction import masks, tiles
from hstasks.salt.samples import MEASURE, image_of, samples

SHOWN: Final = 24
"""Tiles that the page shows."""

STEPS: Final = 200
"""Thresholds, and gates, that the page can be set to: 0, 1/200 ... 199/200."""

_GRID = np.arange(STEPS, dtype=np.float64) / STEPS

__loads__ = ("hstasks/report/templates/masks.html", "hstasks/report/assets/masks.js")


@dataclass
class Counts:
    """What the page's scores are made of, a row a tile: whole numbers, so that they are the scorer's own.

    Attributes:
        ids: of the tiles.
        codes: for each tile, how many pixels have each code, and how many of those are salt: (STEPS + 1, 2).
        presence: the code of the probability that there is any salt.
        black: whether the image is all black.
    """

    ids: list[str] = field(default_factory=list)
    codes: list[NDArray[np.uint32]] = field(default_factory=list)
    presence: list[int] = field(default_factory=list)
    black: list[bool] = field(default_factory=list)

    def add(self, tile: Tile) -> NDArray[np.uint8]:
        """Count a tile whose truth is known; gives the codes of its pixels."""
        found = coded(tile.probability)
        both = [found, found[np.asarray(tile.truth)]]
        self.ids.append(tile.id)
        self.codes.append(np.stack([np.bincount(part.ravel(), minlength=STEPS + 1) for part in both], 1).astype("<u4"))
        # A tile passes the gates up to its presence.
        self.presence.append(int(np.searchsorted(_GRID, tile.presence, side="right")))
        self.black.append(tile.black)
        return found


@dataclass(frozen=True)
class Shown:
    """A tile as the page shows it: its place among the counted ones, its picture, the codes and the truth (H, W)."""

    tile: int
    title: str
    picture: str
    codes: NDArray[np.uint8]
    truth: NDArray[np.bool_]

    def described(self) -> dict[str, Any]:
        """What the page's script reads."""
        size = [int(side) for side in self.codes.shape]
        return {"tile": self.tile, "title": self.title, "picture": self.picture, "size": size}


def coded(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """How many of the page's thresholds each probability lies above."""
    # In the type of the probabilities, as the scorer compares them.
    return np.searchsorted(_GRID.astype(probability.dtype), probability, side="left").astype(np.uint8)


def run(
    params: Params,
    *,
    model: Path = paths.MODEL,
    file: Path = paths.REPORT,
    metrics: Path = paths.METRICS,
    folder: Path = paths.EVALUATION,
    params_file: Path = PARAMS,
) -> Summary:
    """Write the page of the last training and evaluation.

    The held-out tiles are predicted again, so that the page can count pixels at every threshold.

    Args:
        params: how to predict.
        model: what training wrote.
        file: the HTML file.
        metrics: what `hstasks evaluate` wrote.
        folder: the tables that it wrote.
        params_file: the parameters, as they are compared with the last commit's.

    Raises:
        UserError: an earlier stage's result is missing or damaged.
    """
    found = content.read_json(metrics, "evaluate")
    section, rows = content.samples(folder / evaluate.TILES, MEASURE)
    wanted = pages.chosen([row["id"] for row in rows], SHOWN)
    _, held_out = divided(params)
    ensemble, records = masks([model], params.predict)
    rules = fitted_rules(folder, records[0]["training"])
    images = dict(zip(held_out["id"], held_out["image"], strict=True))
    predicted = tiles(ensemble, samples(held_out, params.input), params.predict, "predicting")
    counts, shown = counted(predicted, wanted, images)
    return pages.make(
        _project(),
        found,
        "tiles",
        own(counts, shown, rules, found),
        section,
        lead=(
            f"{MEASURE} is the competition's, the mean over {found['tiles']} held-out tiles with the rules of each "
            "half fitted on the other. Below: what each threshold gives, tiles from the worst to the best, then all "
            "scores, what was run and what it cost."
        ),
        file=file,
        params_file=params_file,
    )


def _project() -> Any:
    from hstasks.salt.challenge import PROJECT

    return PROJECT


def counted(predicted: Iterator[Tile], wanted: Sequence[str], images: dict[str, str]) -> tuple[Counts, list[Shown]]:
    """Count tiles, and keep those that are shown, in the order in which they are wanted."""
    counts, kept = Counts(), {}
    for tile in predicted:
        codes = counts.add(tile)
        if tile.id in wanted:
            light = picture(image_of(images[tile.id])[:1])
            kept[tile.id] = Shown(len(counts.ids) - 1, tile.id, light, codes, np.asarray(tile.truth))
    return counts, [kept[name] for name in wanted if name in kept]


def own(counts: Counts, shown: Sequence[Shown], rules: Rules, metrics: dict[str, Any]) -> Own:
    """The page's part with the tiles."""
    every = np.stack(counts.codes)
    about = {
        "steps": STEPS,
        "truth": every[:, :, 1].sum(axis=1).tolist(),
        "pixels": every[:, :, 0].sum(axis=1).tolist(),
        "presence": counts.presence,
        "black": counts.black,
        "items": [one.described() for one in shown],
        "start": {
            "threshold": _step(rules.threshold),
            "gate": _step(rules.gate),
            "least": rules.least,
            "full": rules.full_to_empty,
            "black": rules.black_to_empty,
        },
    }
    planes = [plane.astype(np.uint8).tobytes() for one in shown for plane in (one.codes, one.truth)]
    left_out = [name for name in ("component", "fill", "mosaic") if getattr(rules, name)]
    part = pages.part(
        "masks.html",
        about=about,
        lead=(
            "Move the threshold: the scores are counted anew over all held-out tiles. The gate empties tiles in which "
            "salt is less likely than that, the least pixels those with a smaller mask."
        ),
        source=_source(len(counts.ids), metrics, left_out),
        shown=f"{len(shown)} of {len(counts.ids)} held-out tiles, from the worst to the best by {evaluate.TILES}",
    )
    data = {"masks-counts": packed(every.tobytes()), "masks-planes": packed(b"".join(planes))}
    return Own(Section("Masks", [part]), "masks.js", data, len(shown))


def _source(count: int, metrics: dict[str, Any], left_out: Sequence[str]) -> str:
    plain = f"{evaluate.PLAIN}_{MEASURE}"
    said = (
        f"Counted over {count} held-out tiles from the model's probabilities: the slider stands on multiples of "
        f"{1 / STEPS:g}, and there the counts are exact; a single pixel's probability is shown to {1 / STEPS:g}. "
        f"{paths.METRICS} has {content.number(metrics[plain])} at 0.5 without rules, and "
        f"{content.number(metrics[MEASURE])} with the rules of each half fitted on the other; 'fitted rules' are those "
        "fitted on all, which the submission uses, and flatter these tiles."
    )
    if left_out:
        said += (
            f" The rules {', '.join(left_out)}, which look at the form of masks or at neighbours, are left out here."
        )
    return said


def _step(value: float) -> int:
    """The nearest place of a slider."""
    return min(max(round(value * STEPS), 0), STEPS - 1)
