"""The verbs beside the pipeline: other people's data in, and this project's data out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsdata.cli.options import Scheduler

app = typer.Typer()


@app.command()
def merge(
    out: Annotated[Path, typer.Argument(help="The data folder to make.")],
    copy: Annotated[bool, typer.Option("--copy", help="Copy the files instead of linking to them.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 means one a core.")] = 0,
    scheduler: Scheduler = None,
) -> None:
    """Make one data folder of the original and the synthetic samples, for tools that want it."""
    from hsdata import merge as stage

    typer.echo(str(stage.run(out, link=not copy, workers=workers, scheduler=scheduler)))
