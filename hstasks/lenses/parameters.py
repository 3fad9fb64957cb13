"""What a trained network says of the parameters of lenses, and how good that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from hsengine import evaluate as engine
from hsengine import folder as folders
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json
from hsengine.evaluate import Summary
from hstasks.lenses import catalog as catalogs
from hstasks.lenses import lens_table, lots, scoring
from hstasks.lenses import targets as encoding
from hstasks.lenses.convert import Store
from hstasks.lenses.ensemble import SPLIT_KEY
from hstasks.lenses.params import Predict
from hstasks.lenses.regress import share
from hstasks.lenses.scoring import Member
from hstasks.lenses.split import Decision
from hstasks.lenses.targets import ANGLES

LEADING = "R2"
LENSES = "lenses.csv"

Values = NDArray[np.float64]


def measures(truth: pd.DataFrame, found: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """For each column its `R2`, `RMSE`, `MAE` and number of `objects`; of angles the error is that modulo 180 degrees.

    Args:
        truth: columns of a submission, NaN where unknown.
        found: the same as predicted.
    """
    table: dict[str, dict[str, float | None]] = {}
    for name in found:
        wanted, told = (frame[name].to_numpy(np.float64) for frame in (truth, found))
        error = told - wanted
        if name in ANGLES.values():
            error = (error + 90.0) % 180.0 - 90.0
        known = np.isfinite(error)
        if known.any():
            table[str(name)] = {
                "R2": None if name in ANGLES.values() else share(wanted, told),
                "RMSE": float(np.sqrt(np.mean(error[known] ** 2))),
                "MAE": float(np.mean(np.abs(error[known]))),
                "objects": int(known.sum()),
            }
    return table


def predicted(
    member: Member, frame: pd.DataFrame, store: Store, settings: Predict, *, label: str = "parameters"
) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """A submission's columns for the objects of catalog rows, a lot at a time; nothing of unreadable objects.

    Args:
        member: a model of parameters.
        frame: the rows.
        store: holds the images.
        settings: batches; views are not averaged, since angles turn with them.
        label: for the progress bar.
    """
    targets = encoding.from_dict(member.record.get("targets", {}), member.name)
    rows = [row for row in scoring.rows_of(frame) if member.sight.samples(row.id, row.bands)]
    with tqdm(total=len(rows), desc=label, unit="object", disable=None) as bar:
        for start in range(0, len(rows), lots.LOT):
            lot = rows[start : start + lots.LOT]
            values = _values(member, [scoring.read(row, store) for row in lot], settings.batch)
            yield [row.id for row in lot], targets.decoded(values)
            bar.update(len(lot))


def _values(member: Member, objects: Sequence[scoring.Object], batch: int) -> Values:
    """(objects, outputs) in standard units: the mean over an object's samples."""
    pairs = [(at, sample) for at, one in enumerate(objects) for sample in member.sight.samples(one.id, one.bands)]
    device = next(member.network.parameters()).device
    told = []
    for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        images = np.stack([member.sight.prediction(objects[at].image, sample) for at, sample in part])
        with torch.no_grad():
            told.append(member.network(torch.from_numpy(images).to(device)).double().cpu().numpy())
    values = np.concatenate(told)
    if not np.isfinite(values).all():
        raise UserError(f"{member.name} gives no numbers: its training broke off; train it anew.")
    owner = np.array([at for at, _ in pairs])
    return np.stack([values[owner == at].mean(axis=0) for at in range(len(objects))])


def single(folder: str | Path, which: str = "best") -> Member:
    """A model of parameters.

    Raises:
        UserError: the folder holds none.
    """
    found = scoring.opened(str(folder), which)
    if found.record.get("task") != "regression":
        raise UserError(
            f"{folder} tells lenses from others, and gives no parameters: train one with target: parameters."
        )
    return found


def is_regression(folder: str | Path) -> bool:
    """Whether a model's folder gives parameters."""
    return folders.record(folder).get("task") == "regression"


def evaluate(member: Member, decision: Decision, settings: Predict, *, file: Path, folder: Path) -> Summary:
    """Score the test lenses; `lenses.csv` in the folder has what is known of each column and what was predicted.

    Args:
        member: a model of parameters.
        decision: the split.
        settings: batches.
        file: for `metrics.json`.
        folder: replaced as a whole.

    Raises:
        UserError: the split is another, or no test lens has known parameters.
    """
    frame = catalogs.labelled(catalogs.load())
    table = lens_table.load()
    tested = set(decision.rows.loc[decision.rows["part"] == "test", "id"]) & set(table.index)
    rows = frame[frame["id"].isin(tested)]
    if rows.empty:
        raise UserError("No test lens has a row in parameters.fits: nothing can be measured.")
    parts = list(predicted(member, rows, Store(), settings, label="scoring test"))
    ids = [name for names, _ in parts for name in names]
    found = pd.concat([columns for _, columns in parts], ignore_index=True)
    truth = table.loc[ids].reset_index(drop=True)
    named = {str(name): values for name, values in measures(truth, found).items()}
    shares = [values["R2"] for values in named.values() if values["R2"] is not None]
    metrics: dict[str, Any] = {
        LEADING: float(np.mean(shares)) if shares else None,
        "objects": len(ids),
        "parameter": named,
        "run": {
            "leading": LEADING,
            "model": member.record["model"]["name"],
            "checkpoint": member.record["checkpoint"]["which"],
            "members": 1,
            "split": decision.hash,
            "same_division": engine.same_division([member.record.get(SPLIT_KEY)], decision.hash),
            "training": [member.record.get("training")],
        },
    }
    with replacing(folder) as scratch:
        scratch.mkdir()
        both = {"id": ids}
        for name in found:
            both |= {str(name): list(found[name]), f"{name} known": list(truth[name])}
        engine.write_table(pd.DataFrame(both), scratch / LENSES)
    write_json(file, metrics)
    return Summary(metrics, file, folder, "objects")
