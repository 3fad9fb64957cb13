"""Closed forms on grounds that they have not seen: one for all grounds, one for each, and what is made of these.

Run it in a project's folder, after `hsdata index`. Each group of training samples is predicted by models that were
solved without it; held-out samples are never read. A row says the mean SSC, that of -ln SSC, and the difference from
`kernel_ridge` by group. "by expected score" takes, for each image, the prediction whose mean score is highest if one of
the others were the truth; "best of them" has the truth in view and is a bound.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any


def main() -> None:
    from hsdata import catalog as catalogs
    from hsdata import paths
    from hsengine.values import Value
    from hsmodels import crossfit
    from hsmodels.heldout import Frames, division
    from hsmodels.params import load_params

    if not paths.CATALOG.exists():
        print("no project in this folder: run it where derived/catalog.csv is")
        return
    params = load_params()
    rows, _ = division(catalogs.load(paths.CATALOG))
    rows = rows[~rows["synthetic"]].reset_index(drop=True)
    frames = Frames(rows, params.track, input=params.input)
    pairs = [(input[None].clone(), truth[None].clone()) for input, truth in frames.pairs("reading samples")]
    groups = crossfit.folds_of(rows, len(rows), params.seed)
    single = [_solved("kernel_sum", params, [pairs[place] for place in group], centres=300) for group in groups]
    scores: dict[str, list[list[float]]] = defaultdict(list)
    for number, group in enumerate(groups):
        seen = [pair for place, pair in enumerate(pairs) if place not in group]
        pooled = [_solved(name, params, seen) for name in ("kernel_ridge", "kernel_sum")]
        others = [model for place, model in enumerate(single) if place != number]
        found: dict[str, list[float]] = defaultdict(list)
        for place in group:
            for name, score in _image(params, *pairs[place], pooled, others).items():
                found[name].append(score)
        for name, values in found.items():
            scores[name].append(values)
    print(f"{len(pairs)} samples of {len(groups)} groups")
    print("| prediction | SSC | -ln SSC | by group, against `kernel_ridge` | told from 0 |")
    print("| --- | ---: | ---: | ---: | --- |")
    plain = [math.fsum(values) / len(values) for values in scores["kernel_ridge"]]
    for name, by_group in scores.items():
        values = [value for group_values in by_group for value in group_values]
        means = [math.fsum(group_values) / len(group_values) for group_values in by_group]
        difference = Value.of([mean - other for mean, other in zip(means, plain, strict=True)])
        logarithm = -math.fsum(math.log(max(value, 1e-6)) for value in values) / len(values)
        told = "yes" if difference is not None and difference.is_told_from_zero else "no"
        print(f"| {name} | {math.fsum(values) / len(values):.4f} | {logarithm:.2f} | {difference} | {told} |")


def _solved(name: str, params: Any, pairs: list[Any], **options: Any) -> Any:
    """A closed form, solved on some samples."""
    from hsdata.cube import BAND_GRID
    from hsmodels import zoo

    model = zoo.for_track(name, params.track, options, bands=len(BAND_GRID), input=params.input)
    zoo.fit(model, iter(pairs))
    return model.eval()


def _image(params: Any, input: Any, truth: Any, pooled: list[Any], others: list[Any]) -> dict[str, float]:
    """The scores of one image's predictions."""
    import torch

    from hsdata.cube import BAND_GRID
    from hsmodels import scoring
    from hsmodels.inference import reconstruct
    from hsmodels.params import Predict

    def score(true: Any, made: Any) -> float:
        return float(scoring.values(true, made, BAND_GRID)[scoring.SCORE])

    settings = Predict(floor=params.predict.floor, precision="no")
    ridge, both = (reconstruct(model, input, settings, BAND_GRID) for model in pooled)
    single = [reconstruct(model, input, settings, BAND_GRID) for model in others]
    stacked = torch.stack(single)
    made = {
        "kernel_ridge": ridge,
        "kernel_sum": both,
        "mean of these two": (ridge + both) / 2,
        "geometric mean of these two": (ridge * both).sqrt(),
        "mean of models of one ground": stacked.mean(dim=0),
        "median of models of one ground": stacked.median(dim=0).values,
    }
    truths = [*single, ridge, both]
    expected = {
        name: math.fsum(score(true, cube) for true in truths if true is not cube) for name, cube in made.items()
    }
    scores = {name: score(truth, cube) for name, cube in made.items()}
    alone = [score(truth, cube) for cube in single]
    scores["of all these, by expected score"] = scores[max(expected, key=expected.__getitem__)]
    scores["one ground's, best of them"] = max(alone)
    return scores


if __name__ == "__main__":
    main()
