"""The stage `submit`: every blind object once, with the threshold that was fitted on validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json, write_text
from hsengine.base.wording import some
from hstasks.lenses import catalog as catalogs
from hstasks.lenses import parameters, scoring, submission
from hstasks.lenses.convert import Store
from hstasks.lenses.layout import BLIND
from hstasks.lenses.params import Params
from hstasks.lenses.scoring import Member

FILE, SCORES = "submission.csv", "scores.csv"


@dataclass(frozen=True)
class Summary:
    """What was written; `note` says what was missing."""

    folder: Path
    handed_in: submission.Summary | None
    note: str = ""

    def __str__(self) -> str:
        if self.handed_in is None:
            return f"{self.note}\nwrote {self.folder} without a submission"
        return str(self.handed_in)


def run(
    params: Params, *, model: Path = paths.MODEL, folder: Path = paths.SUBMISSION, calibration: Path | None = None
) -> Summary:
    """Score every blind object and write and check `submission.csv`, with `scores.csv` (id, bands, prob, pred) beside.

    An object of which no band that a model sees can be read has an empty score, and the class `submission.unscored`
    says. A run that was killed is taken up where it stopped. With `submission.parameters`, objects that are called
    lenses have the parameters that this model predicts.

    Raises:
        UserError: there is no model, catalog or store; the members were trained on different splits; there is no
            threshold of theirs; an object has no score and `submission.unscored` no class for it.
    """
    frame = catalogs.load()
    blind = frame[frame["bucket"] == BLIND]
    if blind.empty:
        with replacing(folder) as scratch:
            scratch.mkdir()
            write_text(scratch / "README.txt", "There is no blind object, so there is no submission.\n")
        return Summary(folder, None, f"There is no blind object in {params.data.root}/{params.data.blind}")
    if parameters.is_regression(model):
        with replacing(folder) as scratch:
            scratch.mkdir()
            write_text(scratch / "README.txt", "The model gives parameters, not classes: there is no submission.\n")
        said = f"{model} gives parameters: keep a copy of it, name that in submission.parameters, and set target: class"
        return Summary(folder, None, said)
    chosen = scoring.members([model, *params.predict.models], params.predict.checkpoint)
    fitted = scoring.read_calibration(calibration or scoring.beside(model), chosen)
    if fitted.d4 != params.predict.d4:
        raise UserError(
            f"The threshold was fitted with predict.d4: {str(fitted.d4).lower()}, and it is "
            f"{str(params.predict.d4).lower()} now: run 'hstasks evaluate' again."
        )
    section = params.submission
    regressor = parameters.single(section.parameters) if section.parameters else None
    if section.unscored is None:
        _check_seen(blind, chosen)
    with scoring.scored(chosen, blind, Store(), params.predict, label="scoring blind objects") as found:
        bands = dict(zip(blind["id"], blind["bands"], strict=True))
        ids, values = scoring.by_object(chosen, found, bands, fitted.mean)
        probability = fitted.probabilities(values)
        preds = dict(zip(ids, (int(value) for value in fitted.decisions(probability)), strict=True))
        rows = blind[["id", "bands"]].assign(
            prob=blind["id"].map(dict(zip(ids, probability, strict=True))), pred=blind["id"].map(preds)
        )
        lenses = blind[blind["id"].map(preds) == 1]
        values_of = _parameters(regressor, lenses, params) if regressor else {}
        with replacing(folder) as scratch:
            scratch.mkdir()
            made = submission.write(
                scratch / FILE,
                list(blind["id"]),
                preds,
                values=values_of,
                columns=section.columns,
                filler=section.filler,
                unscored=section.unscored,
            )
            write_scores(scratch / SCORES, rows)
            write_json(
                scratch / "record.json",
                {
                    "models": [member.name for member in chosen],
                    "parameters": section.parameters,
                    "training": [member.record.get("training") for member in chosen],
                    "calibration": fitted.to_dict(),
                    "objects": len(blind),
                    "unscored": sorted(set(blind["id"]) - set(ids)),
                },
            )
    handed_in = submission.Summary(str(folder / FILE), made.rows, made.lenses, made.unscored, made.columns)
    return Summary(folder, handed_in)


def _parameters(regressor: Member, lenses: pd.DataFrame, params: Params) -> dict[str, dict[str, float]]:
    """The columns of those objects that are called lenses; the others have no such parameters."""
    told = parameters.predicted(regressor, lenses, Store(), params.predict)
    return {
        name: dict(zip(map(str, table.columns), row, strict=True))
        for names, table in told
        for name, row in zip(names, table.to_numpy().tolist(), strict=True)
    }


def _check_seen(blind: pd.DataFrame, chosen: Sequence[Member]) -> None:
    """Refuse objects that will have no score before hours are spent on the others."""
    seen = {band for member in chosen for band in member.sight.bands}
    unseen = [name for name, bands in zip(blind["id"], blind["bands"], strict=True) if not seen & set(bands)]
    if unseen:
        raise UserError(
            f"{len(unseen)} of {len(blind)} objects have no readable band that a model sees: {some(unseen)} (see "
            "derived/unreadable.csv). Fetch their files again, or say by submission.unscored which class they get."
        )


def write_scores(file: Path, rows: pd.DataFrame) -> None:
    """Write scores as CSV; what is not known is empty."""
    whole = rows.assign(pred=rows["pred"].astype("Int64"))
    write_text(file, str(whole.to_csv(index=False, lineterminator="\n")))
