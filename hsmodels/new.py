"""The verb `new`: a project folder of one's own, for those who installed the package and did not clone it."""

from __future__ import annotations

from pathlib import Path

from hsengine.base import template

FILES = ("dvc.yaml", "params.yaml", "recipes", "studies", "indexing", ".dvcignore", ".gitignore")
"""What of the repository makes a project; pyproject.toml packs the same."""


def run(folder: str | Path) -> str:
    """Make a project in a folder that is new or empty, and say what comes next.

    Raises:
        UserError: see `hsengine.base.template.make`.
    """
    made = template.make(template.place_of(Path(__file__).parent, FILES), FILES, folder)
    data = "hsdata sample data   # or hsdata fetch, or your own files in data/"
    steps = [f"cd {folder}", data, "dvc add data", "git add . && git commit -m begin", "dvc repro"]
    return "\n".join(["made " + "; ".join(made), "next:", *(f"  {step}" for step in steps)])
