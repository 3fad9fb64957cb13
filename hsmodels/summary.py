"""The scores of the last evaluation as a table, and where to look next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from hsdata import paths
from hsengine.base.errors import UserError
from hsengine.base.reading import parsed_json
from hsengine.evaluate import shown

_REMEDY = "make them with 'dvc repro' or 'hsmodels evaluate'."
_VALUES = ("SSC", "SSC_arith", "SAM_deg", "SID", "ERGAS", "PSNR_dB", "SSIM", "DeltaE00")


def table(file: Path = paths.METRICS) -> Table:
    """The model's SSC beside the closed-form baselines', its parts, and its SSC by category and region.

    Raises:
        UserError: there are no metrics yet, or the file is damaged.
    """
    try:
        metrics: dict[str, Any] = parsed_json(file, "the scores of a model", _REMEDY)
        run = metrics["run"]
        found = Table()
        found.add_column(f"{metrics['images']} held-out samples, {run['checkpoint']} checkpoint")
        found.add_column("value", justify="right")
        leading = run["leading"]
        values = [name for name in _VALUES if name in metrics] or [leading]
        for name in values:
            found.add_row(f"{run['model']}: {name}", shown(metrics[name]), end_section=name == values[-1])
        for group in ("baseline", "category", "region"):
            parts = sorted(metrics.get(group, {}).items())
            for name, part in parts:
                found.add_row(f"{leading} of {group} {name}", shown(part[leading]), end_section=name == parts[-1][0])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is not what 'hsmodels evaluate' writes ({error!r}): {_REMEDY}") from None
    return found


_PLACES = {
    paths.REPORT: "the page that shows all of it: open it in a browser",
    paths.EVALUATION / "pictures": "truth, prediction, error and spectra of a few samples",
    paths.EVALUATION / "images.csv": "the score of every held-out sample",
    paths.SUBMISSION: "the submission archives, or why there are none",
}
NEXT = "\n".join(
    [
        "Look next at",
        *(f"  {place.as_posix():<33}{what}" for place, what in _PLACES.items()),
        "and try",
        "  dvc exp run -S model=raw2hsi -S track=1",
        "  dvc exp show --only-changed",
        "  dvc plots show",
    ]
)
