"""Which closed form a network corrects, chosen by cross-validation over the groups of the training samples.

The plain one, unless another is told from it: on few grounds the better mean is mostly luck, and what held-out samples
would say is theirs to say.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from hsdata import layout
from hsdata.cube import BAND_GRID
from hsengine.base.errors import UserError
from hsengine.base.files import write_json
from hsengine.base.incremental import key_of
from hsengine.base.paths import state_folder
from hsengine.base.reading import parsed_json
from hsengine.train.identity import code
from hsengine.values import Value
from hsmodels import crossfit, scoring, zoo
from hsmodels.heldout import Frames, data_hash
from hsmodels.inference import reconstruct
from hsmodels.params import Params, Predict

CHOSEN: Final = "chosen"
"""What `residual` says to have it chosen here."""

CANDIDATES: Final = ("kernel_ridge", "kernel_sum")
"""The plain one, and what may take its place."""

_FOLDS = 16
# With fewer groups nothing can be told.
_GROUPS = 3
# Samples that are tried, and the pixels of a side of the part of each, so that neither time nor memory grow with them.
_SAMPLES, _SIDE = 40, 128


@dataclass(frozen=True)
class Choice:
    """What cross-validation said.

    Attributes:
        name: the closed form.
        groups: how many groups of samples served.
        scores: the mean SSC over samples that the closed form has not seen; empty where nothing could be tried.
        differences: from the plain one's score, the mean over groups, by the name of each other candidate.
    """

    name: str
    groups: int
    scores: Mapping[str, float]
    differences: Mapping[str, Value]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Choice:
        """What `record` wrote down."""
        told = record["differences"].items()
        differences = {name: Value(value["mean"], value["spread"], value["n"]) for name, value in told}
        return cls(record["name"], record["groups"], record["scores"], differences)

    def record(self) -> dict[str, Any]:
        """Plain values for a model's `config.json`."""
        told = {name: asdict(value) | {"told": value.is_told_from_zero} for name, value in self.differences.items()}
        return {"name": self.name, "groups": self.groups, "scores": dict(self.scores), "differences": told}

    def __str__(self) -> str:
        if not self.scores:
            return f"residual: {self.name}, since fewer than {_GROUPS} groups of samples tell nothing"
        lines = [f"residual: {self.name}, by cross-validation over {self.groups} groups of training samples, SSC:"]
        for name, score in self.scores.items():
            found = self.differences.get(name)
            told = "" if found is None else "told from 0" if found.is_told_from_zero else "not told from 0"
            lines.append(f"  {name} {score:.4f}" + ("" if found is None else f", {found.mean:+.4f} by group, {told}"))
        return "\n".join(lines)


def once(params: Params, rows: pd.DataFrame) -> Choice:
    """What `choose` says, asked once: all processes of a training and each that resumes it hold to the same answer.

    It is kept outside of the workspace, beside the saved states of trainings, until code, samples or parameters differ.

    Raises:
        UserError: a sample cannot be read.
    """
    decides = [params.track, params.input, params.predict.floor, params.seed]
    key = key_of(decides, code([__name__]), data_hash(rows, rows.iloc[:0]))
    file = state_folder() / "choices" / f"{key}.json"
    # One that is spoiled is made again.
    with contextlib.suppress(UserError, ValueError, LookupError, TypeError, AttributeError):
        return Choice.of(parsed_json(file, "an answer that is kept"))
    made = choose(params, rows)
    # A training that cannot keep it says so when it keeps its state.
    with contextlib.suppress(OSError, UserError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, made.record())
    return made


def choose(params: Params, rows: pd.DataFrame) -> Choice:
    """Try the closed forms on training samples whose group they have not seen.

    At most 40 samples serve, by chance where there are more, and of large ones a part from the middle. `CANDIDATES`'
    first is taken unless another's paired difference, a value for each group, is above 0 and told from it by Student's
    t at 5 %; of several the one with the largest.

    Args:
        params: track, input, floor and seed.
        rows: the samples to learn from; synthetic ones are left out.

    Raises:
        UserError: a sample cannot be read.
    """
    originals = rows[~rows["synthetic"]].reset_index(drop=True)
    order = torch.randperm(len(originals), generator=torch.Generator().manual_seed(params.seed))
    tried = originals.iloc[sorted(order[:_SAMPLES].tolist())].reset_index(drop=True)
    # As many folds as there are groups are the groups themselves.
    groups = crossfit.folds_of(tried, len(tried), params.seed)
    if len(groups) < _GROUPS:
        return Choice(CANDIDATES[0], len(groups), {}, {})
    pairs = _pairs(params, tried)
    settings = Predict(floor=params.predict.floor, precision="no")
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    folds = crossfit.folds_of(tried, _FOLDS, params.seed)
    trials = [(places, name) for places in folds for name in CANDIDATES]
    for places, name in tqdm(trials, desc="choosing a closed form", disable=None):
        base = zoo.for_track(name, params.track, {}, bands=len(BAND_GRID), input=params.input)
        seen = [pair for place, pair in enumerate(pairs) if place not in places]
        zoo.fit(base, ((input[None], truth[None]) for input, truth in seen))
        base.eval()
        for place in places:
            input, truth = pairs[place]
            made = reconstruct(base, input[None], settings, BAND_GRID)
            scores[name][place] = float(scoring.values(truth[None], made, BAND_GRID)[scoring.SCORE])
    return decided(scores, groups)


def decided(scores: Mapping[str, Mapping[int, float]], groups: Sequence[Sequence[int]]) -> Choice:
    """The first candidate, or another whose paired difference from it is above 0 and told from it.

    Args:
        scores: of each candidate, the plain one first, the score of each sample.
        groups: the samples of each group, each in one.
    """
    plain, *others = scores
    differences = {}
    for name in others:
        by_group = [sum(scores[name][place] - scores[plain][place] for place in group) / len(group) for group in groups]
        if (found := Value.of(by_group)) is not None:
            differences[name] = found
    better = {name: value.mean for name, value in differences.items() if value.mean > 0 and value.is_told_from_zero}
    means = {name: sum(found.values()) / len(found) for name, found in scores.items()}
    return Choice(max(better, key=better.__getitem__, default=plain), len(groups), means, differences)


def _pairs(params: Params, rows: pd.DataFrame) -> list[tuple[Tensor, Tensor]]:
    """The middle of each sample's input and cube, where a mosaic begins at its pattern's first pixel."""
    scale = layout.MODALITIES[layout.modality_of(params.track, params.input)].scale
    pairs = []
    for input, truth in Frames(rows, params.track, input=params.input).pairs("reading samples"):
        height, width = (min(side, _SIDE // scale) for side in input.shape[-2:])
        top, left = ((side - kept) // 4 * 2 for side, kept in zip(input.shape[-2:], (height, width), strict=True))
        part = truth[:, top * scale : (top + height) * scale, left * scale : (left + width) * scale]
        pairs.append((input[:, top : top + height, left : left + width].clone(), part.clone()))
    return pairs
