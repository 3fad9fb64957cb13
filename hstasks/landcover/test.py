"""The stage `test`: the last model on the test tiles, once.

The seal says which model was tested on which data, and the score. The same model gets the sealed score, and no test
mask is opened again; another is refused unless a reason is given, which the seal keeps.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsengine import folder as folders
from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import clear_beside, file_hash, replacing, write_json
from hsengine.base.reading import parsed_json
from hsengine.evaluate import shown
from hstasks.images import catalog as catalogs
from hstasks.images import readers
from hstasks.landcover import scoring, split, stages
from hstasks.landcover.classes import BACKGROUND
from hstasks.landcover.params import Params
from hstasks.landcover.task import MEASURE

SEAL = Path("test_seal.json")
"""In the project's folder, not among the outputs, which a pipeline removes: commit it."""

_BACK = "get it back from git; it says what was tested."

FOLDER = paths.OUTPUTS / "test"


@dataclass(frozen=True)
class Summary:
    """The score that is sealed, and whether it was made now; `note` where there is none."""

    score: float | None
    made: bool
    tests: int
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return self.note
        how = "scored on the test and sealed" if self.made else "sealed before; no test mask was opened"
        return f"{MEASURE} {shown(self.score)}: {how} (test number {self.tests})\n{SEAL}"


def run(params: Params, *, seal: Path = SEAL, folder: Path = FOLDER) -> Summary:
    """Score the stage's model on the test tiles, and write the seal.

    Raises:
        UserError: another model was tested, and `test.reason` is empty; the seal cannot be read; or the model does
            not suit, see `scoring.model_of`.
    """
    chosen = stages.resolved(params)
    clear_beside(seal)
    division = split.load()
    rows = split.rows(split.TEST, division)
    if rows.empty:
        _keep(folder, {"note": "no test"})
        return Summary(
            None, False, 0, "No tile is for the test (split.test_fold, split.test_sites): nothing is tested."
        )
    source = stages.model(chosen)
    identity = {
        "model": file_hash(source / folders.file_of(chosen.predict.checkpoint)) if source.is_dir() else "",
        "split": division.hash,
        "images": hashlib.blake2b(rows[["id", "content"]].to_csv(index=False).encode(), digest_size=16).hexdigest(),
        "views": chosen.predict.views,
    }
    tests = read(seal)
    for number, past in enumerate(tests, start=1):
        if all(past.get(key) == value for key, value in identity.items()):
            _keep(folder, past)
            return Summary(past["score"], False, number)
    if tests and not (chosen.test.reason or "").strip():
        raise UserError(
            f"{seal}: the test was made with another model or split ({len(tests)} in all, the last scored "
            f"{shown(tests[-1]['score'])}). A test counts once: keep that model, or say in test.reason why another is "
            "tested; the seal keeps it."
        )
    ensemble, record = scoring.model_of(source, chosen, division)
    metrics: dict[str, Any] = {
        "checkpoint": f"{chosen.stage or stages.ALONE}/{chosen.predict.checkpoint}",
        "split": split.TEST,
        "ignore_index": BACKGROUND,
        **scoring.scored(ensemble, record, rows, chosen, "testing"),
    }
    entry = {
        **identity,
        "masks": masks_hash(list(rows["mask"])),
        "stage": chosen.stage,
        "training": record.get("training"),
        "score": metrics[MEASURE],
        "reason": chosen.test.reason if tests else None,
        "metrics": metrics,
    }
    write_json(seal, {"tests": [*tests, entry]})
    _keep(folder, entry)
    return Summary(entry["score"], True, len(tests) + 1)


def read(seal: Path = SEAL) -> list[dict[str, Any]]:
    """The tests that were made; none without a seal.

    Raises:
        UserError: it cannot be read.
    """
    if not seal.is_file():
        return []
    try:
        found: list[dict[str, Any]] = parsed_json(seal, "the record of tests", _BACK)["tests"]
        _ = [entry["score"] for entry in found]
        return found
    except (KeyError, TypeError) as error:
        raise UserError(f"{seal} cannot be read ({error!r}): {_BACK}") from None


def masks_hash(files: list[str]) -> str:
    """Hash of the labels in some masks."""
    told = [catalogs.content_hash(readers.read_labels(file)[np.newaxis]) for file in files]
    return hashlib.blake2b("\n".join(told).encode(), digest_size=16).hexdigest()


def _keep(folder: Path, entry: dict[str, Any]) -> None:
    """What the pipeline has of a test: its report, made from the seal."""
    with replacing(folder) as scratch:
        scratch.mkdir()
        if "metrics" in entry:
            scoring.write(scratch, entry["metrics"])
        else:
            write_json(scratch / "metrics.json", entry)
