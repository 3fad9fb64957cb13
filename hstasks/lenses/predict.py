"""The verb `predict`: scores of any folder of cut-outs; no pipeline is needed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from hsengine.base import remembered
from hsengine.base.errors import UserError
from hsengine.base.files import check_own, replacing, write_json, write_text
from hsengine.base.wording import listed, some
from hstasks.lenses import catalog as catalogs
from hstasks.lenses import lots, scoring
from hstasks.lenses.layout import BANDS, Found, parsed
from hstasks.lenses.params import Predict
from hstasks.lenses.scoring import Member, Object, Scores
from hstasks.lenses.submit import SCORES, write_scores

UNREADABLE = "unreadable.csv"
_RECORD = "record.json"


@dataclass(frozen=True)
class Summary:
    """What was predicted, and what could not be read."""

    folder: Path
    objects: int
    lenses: int
    unscored: list[str]
    problems: list[str] = field(repr=False)

    def __str__(self) -> str:
        lines = [f"{self.objects} objects, {self.lenses} of them lenses: {self.folder / SCORES}"]
        if self.problems:
            lines.append(f"{len(self.problems)} bands cannot be read ({UNREADABLE}):\n{listed(self.problems, 10)}")
        if self.unscored:
            lines.append(f"{len(self.unscored)} objects have no readable band that a model sees, and no score:")
            lines.append(listed(self.unscored, 10))
        return "\n".join(lines)


def run(
    input: Path,
    output: Path,
    model: Sequence[Path],
    *,
    checkpoint: Literal["best", "last"] = "best",
    device: str | None = None,
    settings: Predict | None = None,
) -> Summary:
    """Score all objects whose cut-outs lie in a folder or below it.

    Writes `scores.csv` (id, bands, prob, pred; empty where no band that a model sees can be read), `unreadable.csv`
    (object, band, reason) and `record.json`, which names objects without a score, into `output`. Members of an ensemble
    that see no band of an object are left out of its mean. A run that was killed is taken up where it stopped.

    Args:
        input: a folder, or one file.
        output: a folder that is not there yet, or that this verb wrote.
        model: folders that training wrote; several are an ensemble, whose threshold is beside the first.
        checkpoint: which weights.
        device: `cpu` or `cuda`; a GPU if there is one by default.
        settings: views and batches; None: the views for which the threshold was fitted.

    Raises:
        UserError: there is no cut-out, a folder is not a trained model's, there is no threshold of these models, or
            `output` holds something else.
    """
    found = objects_of(input)
    check_own(output, _RECORD, "a folder of predictions", holds=(SCORES, UNREADABLE))
    chosen = scoring.members(list(model), checkpoint, device)
    fitted = scoring.read_calibration(scoring.beside(model[0]), chosen)
    bands: dict[str, str] = {}
    problems: list[tuple[str, str, str]] = []
    scores: list[Scores] = [{} for _ in chosen]
    how = settings or Predict(d4=fitted.d4)
    with lots.kept(scoring.key_of(chosen, how, [_stamps(one) for one in found])) as answers:
        for answer in answers.of(found, lambda lot: _answered(chosen, lot, how), "scoring"):
            scoring.add(scores, answer["scores"])
            bands.update(answer["bands"])
            problems += [(object, band, reason) for object, band, reason in answer["problems"]]
        ids, values = scoring.by_object(chosen, scores, bands, fitted.mean)
        probability = dict(zip(ids, fitted.probabilities(values), strict=True))
        preds = dict(zip(ids, fitted.decisions(list(probability.values())), strict=True))
        rows = pd.DataFrame({"id": list(bands), "bands": list(bands.values())})
        rows = rows.assign(prob=rows["id"].map(probability), pred=rows["id"].map(preds))
        unscored = [name for name in bands if name not in probability]
        with replacing(output) as scratch:
            scratch.mkdir()
            write_scores(scratch / SCORES, rows)
            listing = pd.DataFrame(problems, columns=["object", "band", "reason"])
            write_text(scratch / UNREADABLE, str(listing.to_csv(index=False, lineterminator="\n")))
            record = {
                "models": [member.name for member in chosen],
                "calibration": fitted.to_dict(),
                "objects": len(bands),
                "unscored": unscored,
            }
            write_json(scratch / _RECORD, record)
    return Summary(output, len(bands), int(sum(preds.values())), unscored, [why for *_, why in problems])


def objects_of(input: Path) -> list[Found]:
    """The objects whose files lie in a folder or below it, by id."""
    if not input.exists():
        raise UserError(f"There is no {input}: give a folder of cut-outs, or one.")
    objects: dict[tuple[str, str], Found] = {}
    for folder, file in _files(input):
        name = parsed(file)
        if name is None:
            continue
        own = objects.setdefault((name.id, folder), Found(name.id, "", "", -1, name.number, folder))
        if name.band in own.files:
            raise UserError(f"Object {name.id} has two files of band {name.band} in {folder}: leave one.")
        own.files[name.band] = file
    if not objects:
        raise UserError(f"{input} holds no cut-out: names are such as object_00012_g.fits.")
    times = Counter(name for name, _ in objects)
    if double := sorted(name for name, count in times.items() if count > 1):
        raise UserError(f"{input} has the files of {some(double)} in several folders: give one folder.")
    return [objects[key] for key in sorted(objects)]


def _files(input: Path) -> Iterator[tuple[str, str]]:
    """Folder and name of every file below a folder, or of one file."""
    if input.is_file():
        yield str(input.parent), input.name
    for folder, _, names in os.walk(input, followlinks=True):
        yield from ((folder, name) for name in names)


def _stamps(found: Found) -> list[Any]:
    """What changes when a file of an object does."""
    return [found.id, *(remembered.stamp(Path(found.folder, name)) for _, name in sorted(found.files.items()))]


def _answered(chosen: Sequence[Member], lot: Sequence[Found], settings: Predict) -> dict[str, Any]:
    """The members' scores of a lot of objects, the readable bands of all of them, and what cannot be read."""
    readable: list[Object] = []
    bands: dict[str, str] = {}
    problems: list[tuple[str, str, str]] = []
    for one in lot:
        reading, image = catalogs.read(one)
        bands[one.id] = reading.bands
        problems += [(one.id, band, reading.problems[band]) for band in BANDS if band in reading.problems]
        if reading.bands:
            readable.append(Object(one.id, reading.bands, image))
    return {"scores": scoring.answered(chosen, readable, settings), "bands": bands, "problems": problems}
