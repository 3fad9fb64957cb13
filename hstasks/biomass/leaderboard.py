"""The verb `leaderboard`: the competition's board, with the local scores beside it, R² against R²."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsengine.base import paths
from hsengine.base.reading import parsed_json
from hsengine.evaluate import shown
from hstasks.biomass.fetch import COMPETITION
from hstasks.images import leaderboard


@dataclass(frozen=True)
class Summary:
    """The board, and the local scores by what they were measured on."""

    board: leaderboard.Board
    local: dict[str, float | None]

    def __str__(self) -> str:
        lines = [f"{'best teams':<58} R2"]
        lines += [f"{place:>4} {row.team[:50]:<50} {row.score:>9.5f}" for place, row in enumerate(self.board.rows, 1)]
        lines.append(f"{'own submissions':<41} {'public':>11} {'private':>11}")
        lines += [
            f"  {one.file[:22]:<22} {one.date:<16} {shown(one.public):>11} {shown(one.private):>11}"
            for one in self.board.own
        ] or ["  none"]
        lines.append("here")
        lines += [f"  {name:<53} {shown(value):>9}" for name, value in self.local.items()] or [
            "  none: train and evaluate first"
        ]
        return "\n".join(lines)


def run(top: int = 10, *, name: str = COMPETITION) -> Summary:
    """Show the board beside the weighted R² of `outputs/metrics.json` and of `outputs/folds/metrics.json`.

    Args:
        top: how many teams.
        name: the competition.

    Raises:
        UserError: see `hstasks.images.leaderboard.read`.
    """
    return Summary(leaderboard.read(name, top), local_scores())


def local_scores() -> dict[str, float | None]:
    """The weighted R² of what was evaluated here, by what it was measured on; RMSE is never put beside a board."""
    found: dict[str, float | None] = {}
    for file, what in ((paths.METRICS, "held-out fold"), (paths.OUTPUTS / "folds/metrics.json", "all folds, pooled")):
        said = _read(file)
        if said:
            kind = said.get("strategy") or said.get("run", {}).get("strategy", "?")
            found[f"{what}, by {kind} ({said.get('images', '?')} images)"] = said.get("R2")
    return found


def _read(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    content = parsed_json(file, "what 'evaluate' measured", "run 'hstasks evaluate' again.")
    return content if isinstance(content, dict) else None
