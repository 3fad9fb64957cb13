"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PARAMS = Path("params.yaml")

ParamsFile = Annotated[Path, typer.Option("--params", help="The parameter file.")]
Workers = Annotated[int | None, typer.Option(min=0, help="Processes; 0 means one a core. Default: params.yaml's.")]
Scheduler = Annotated[str | None, typer.Option(help="A Dask scheduler (tcp://host:port) instead of processes.")]
Full = Annotated[bool, typer.Option("--full", help="Make everything anew, also what is up to date.")]
