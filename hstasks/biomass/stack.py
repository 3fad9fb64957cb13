"""The verb `stack`: several models as one, weighed by their out-of-fold predictions only.

Weights of at least 0 that sum to 1, found by least squares on the rows of the competition's measure (Breiman 1996,
"Stacked regressions"). All targets share them, so that the identities hold. The score printed is of weights that were
found without the fold that they are scored on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json
from hsengine.evaluate import shown
from hstasks.biomass import baselines, catalog, layout, split
from hstasks.biomass.evaluate import OUT_OF_FOLD
from hstasks.biomass.layout import SUBMISSION_TABLE, TARGETS, TEST
from hstasks.biomass.params import Params
from hstasks.biomass.score import WEIGHTS, weighted_r2

Floats = NDArray[np.float64]

FOLDER = paths.OUTPUTS / "stack"


@dataclass(frozen=True)
class Summary:
    """The scores, and where they are."""

    metrics: dict[str, Any]
    folder: Path

    def __str__(self) -> str:
        said = self.metrics
        lines = [f"  {name:<40} {shown(score):>8}" for name, score in said["members"].items()]
        weights = ", ".join(f"{name} {value:.2f}" for name, value in said["weights"].items())
        return "\n".join(
            ["out of fold, pooled", *lines, f"  {'mean':<40} {shown(said['mean']):>8}",
             f"  {'stacked':<40} {shown(said['R2']):>8}", f"weights: {weights}", f"wrote {self.folder}"]
        )  # fmt: skip


def run(params: Params, *, folder: Path = FOLDER) -> Summary:
    """Weigh the members of `stack`, score them, and predict the test images with them.

    Raises:
        UserError: there is no member, or members are of different images or folds.
    """
    names = [*params.stack.members, *params.stack.forms]
    if len(names) < 2:
        raise UserError("stack needs two members or more: name folders of 'hstasks folds' in stack.members.")
    tables = [out_of_fold(Path(member)) for member in params.stack.members]
    rows = split.training_rows()
    reference = tables[0] if tables else None
    if reference is None:
        raise UserError("stack.members is empty: the folds are those of its first member.")
    known = rows.set_index("id", drop=False).loc[list(reference["id"])].reset_index(drop=True)
    truth, folds = known[list(TARGETS)].to_numpy(dtype=np.float64), reference["fold"].to_numpy()
    for name, table in zip(params.stack.members, tables, strict=True):
        if list(table["id"]) != list(reference["id"]) or list(table["fold"]) != list(folds):
            raise UserError(f"{name} has other images or folds than {names[0]}: make both with one split.")
    said = [table[list(TARGETS)].to_numpy(dtype=np.float64) for table in tables]
    said += [baselines.out_of_fold(known, list(folds), baselines.FORMS[name]) for name in params.stack.forms]
    metrics = measured(dict(zip(names, said, strict=True)), truth, folds)
    with replacing(folder) as scratch:
        scratch.mkdir(parents=True)
        write_json(scratch / "metrics.json", metrics)
        _submit(params, rows, np.array(list(metrics["weights"].values())), scratch)
    return Summary(metrics, folder)


def measured(said: Mapping[str, Floats], truth: Floats, folds: NDArray[np.int64]) -> dict[str, Any]:
    """The pooled scores of members' (n, 5) grams, of their mean and of their stack, and the weights of all folds."""
    each = np.stack(list(said.values()))
    stacked = np.zeros_like(truth)
    for fold in np.unique(folds):
        out = folds == fold
        stacked[out] = np.tensordot(weights(each[:, ~out], truth[~out]), each[:, out], axes=1)
    return {
        "R2": weighted_r2(truth, stacked, TARGETS),
        "mean": weighted_r2(truth, each.mean(axis=0), TARGETS),
        "members": {name: weighted_r2(truth, grams, TARGETS) for name, grams in said.items()},
        "weights": dict(zip(said, weights(each, truth).tolist(), strict=True)),
    }


def weights(each: Floats, truth: Floats) -> Floats:
    """(m,) weights of at least 0 that sum to 1, of members' grams (m, n, 5), by least squares on the measure's rows.

    Weights of any sum would scale grams by what these folds' groups happen to weigh.
    """
    from scipy.optimize import nnls

    share = np.sqrt(np.array(list(WEIGHTS.values())))
    columns, wanted = (each * share).reshape(len(each), -1).T, (truth * share).ravel()
    # One more row, heavy enough to be kept: the sum.
    heavy = 1e4 * float(np.abs(columns).max(initial=1.0))
    columns = np.concatenate([columns, np.full((1, len(each)), heavy)])
    found: Floats = nnls(columns, np.append(wanted, heavy))[0]
    scaled: Floats = found / found.sum()
    return scaled


def out_of_fold(member: Path) -> pd.DataFrame:
    """The out-of-fold rows of a folder that `hstasks folds` wrote, by id.

    Raises:
        UserError: there are none.
    """
    files = sorted(member.glob(f"fold-*/evaluation/{OUT_OF_FOLD}"))
    if not files:
        raise UserError(
            f"{member} has no out-of-fold predictions: make them with 'hstasks folds', and name its folder."
        )
    found = pd.concat([pd.read_csv(file, dtype={"id": "str"}) for file in files], ignore_index=True)
    return found.sort_values("id", ignore_index=True)


def models(member: Path) -> Sequence[Path]:
    """The model of each fold."""
    return sorted(path for path in member.glob("fold-*/model") if path.is_dir())


def _submit(params: Params, rows: pd.DataFrame, share: Floats, folder: Path) -> None:
    from hstasks.biomass.prediction import predicted, repaired
    from hstasks.biomass.submit import FILE, check, order_of, write

    frame = catalog.load()
    test = frame[frame["split"] == TEST].reset_index(drop=True)
    if test.empty:
        return
    each = [predicted(list(models(Path(member))), test, params.predict)[0] for member in params.stack.members]
    each += [baselines.FORMS[name](rows, test) for name in params.stack.forms]
    grams = repaired(np.tensordot(share, np.stack(each), axes=1), params.predict)
    said = dict(layout.long(list(test["id"]), grams))
    order = order_of(Path(params.data.root) / SUBMISSION_TABLE, said)
    write(folder / FILE, [(name, said[name]) for name in order])
    check(folder / FILE, order)
