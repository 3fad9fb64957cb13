"""The stage `code`: what code each stage of the pipeline runs through, so that DVC sees when it changes."""

from __future__ import annotations

from hsengine.base import code
from hsengine.base.paths import CODE

STAGES = {
    "catalog": ("hsdata.catalog",),
    "index": ("hsdata.index",),
    "convert": ("hsdata.convert",),
    "render": ("hsdata.render",),
    "smote-plan": ("hsdata.smote",),
    "smote": ("hsdata.smote",),
    "train": ("hsmodels.train",),
    "evaluate": ("hsmodels.evaluate",),
    "submit": ("hsmodels.submit",),
    "report": ("hsmodels.report",),
}
"""Stage of `dvc.yaml` -> the modules from which everything is imported that decides its result."""


def run() -> str:
    """Bring the files of `derived/code` up to date, and say which stages run through other code than before."""
    known = CODE.is_dir()
    changed = code.write(STAGES, CODE)
    if not known:
        return f"noted the code of {len(changed)} stages"
    return f"other code than before: {', '.join(changed)}" if changed else "the code is what it was"
