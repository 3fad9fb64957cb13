"""The command line of the data side."""

from __future__ import annotations

import typer

from hsdata.cli import captures, stages, tools
from hsengine.base import console

app = typer.Typer(
    help="Hyperspectral data: from raw cubes to an index of what may be trained on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(stages.app)
app.add_typer(tools.app)
app.add_typer(captures.app)


def main() -> None:
    """Run the command line."""
    console.run(app)
