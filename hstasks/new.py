"""The verb `new`: a challenge's folder of one's own, for those who installed the package and did not clone it."""

from __future__ import annotations

from pathlib import Path

from hsengine.base import template
from hstasks import challenge

FILES = ("dvc.yaml", "params.yaml", "README.md", "recipes", "studies", ".dvcignore", ".gitignore")
"""What of a challenge's folder makes a project; pyproject.toml packs the same."""


def run(name: str, folder: str | Path) -> str:
    """Make a challenge's project in a folder that is new or empty, and say what comes next.

    Raises:
        UserError: there is no such challenge; or see `hsengine.base.template.make`.
    """
    challenge.named(name)
    source = template.place_of(Path(__file__).parent, FILES, f"challenges/{name}")
    made = template.make(source, FILES, folder)
    data = "hstasks sample data   # or hstasks fetch, or the competition's files in data/"
    steps = [f"cd {folder}", data, "git add . && git commit -m begin", "dvc repro"]
    return "\n".join(["made " + "; ".join(made), "next:", *(f"  {step}" for step in steps)])
