"""The stage `aggregate`: the scores of all checkpoints, ranked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import write_text
from hsengine.base.reading import parsed_json
from hsengine.evaluate import shown
from hstasks.landcover import stages
from hstasks.landcover.classes import NAMES
from hstasks.landcover.evaluate import EVALUATION
from hstasks.landcover.params import Params
from hstasks.landcover.task import MEASURE

FILE = paths.OUTPUTS / "summary.csv"
RANKED = (MEASURE, "mF1_excluding_bg", "OA")


@dataclass(frozen=True)
class Summary:
    """The table, best first."""

    table: pd.DataFrame
    file: Path
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{'checkpoint':28}" + "".join(f"{name:>20}" for name in RANKED)]
        for row in self.table.to_dict("records"):
            values = [shown(None if pd.isna(row[name]) else row[name]) for name in RANKED]
            lines.append(f"{row['checkpoint']:28}" + "".join(f"{value:>20}" for value in values))
        return "\n".join([*lines, *self.notes, f"wrote {self.file}"])


def run(params: Params) -> Summary:
    """Rank every checkpoint that was evaluated by mean IoU, mean F1 and accuracy, and write `outputs/summary.csv`.

    Checkpoints are told apart by stage and name, not by the names of files.

    Raises:
        UserError: none was evaluated.
    """
    files = sorted(stages.FOLDER.glob(f"*/{EVALUATION}/metrics.json"))
    if not files:
        raise UserError(f"Nothing is evaluated in {stages.FOLDER}: run 'hstasks evaluate' or 'dvc repro' first.")
    rows, splits = [], set()
    for file in files:
        told = parsed_json(file, "what 'hstasks evaluate' measured")
        try:
            splits.add(told["run"]["split"])
            row = {"checkpoint": told["checkpoint"], "split": told["split"], **{name: told[name] for name in RANKED}}
            rows.append(row | {f"IoU {NAMES[k]}": told["per_class_iou"][k] for k in range(1, len(NAMES))})
        except (KeyError, TypeError, IndexError) as error:
            raise UserError(f"{file} is not what 'hstasks evaluate' writes ({error!r}): run that again.") from None
    table = pd.DataFrame(rows).sort_values([*RANKED, "checkpoint"], ascending=[False] * len(RANKED) + [True])
    write_text(FILE, table.to_csv(index=False, lineterminator="\n"))
    notes = ("warning: these are scores of different splits, which do not compare",) if len(splits) > 1 else ()
    return Summary(table.reset_index(drop=True), FILE, notes)
