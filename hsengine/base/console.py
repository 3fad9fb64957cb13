"""What all command lines share: tables, and errors for the person who must act with their exit codes."""

from __future__ import annotations

import errno
import io
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from hsengine.base.errors import UserError
from hsengine.base.files import FULL

if TYPE_CHECKING:
    from rich.table import Table


def finite(value: float | None) -> float | None:
    """Check an option that is a number, as its `callback`: NaN and infinity are none.

    Raises:
        BadParameter: it is not finite.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def positive(value: float | None) -> float | None:
    """Check an option that is a number above 0, as its `callback`.

    Raises:
        BadParameter: it is not finite, or not above 0.
    """
    if finite(value) is not None and not value > 0.0:  # type: ignore[operator]
        raise typer.BadParameter(f"{value} is not above 0.")
    return value


def run(app: Callable[..., Any]) -> None:
    """Run a Typer application; the user's mistakes end in one message and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        # Names of files need not be text.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno == errno.EPIPE:
            sys.exit(0)
        if error.errno in (*FULL, errno.EACCES, errno.EROFS, errno.EPERM):
            sys.exit(f"error: {error.strerror}: {error.filename or 'while writing'}. Free space or mend permissions.")
        if error.errno and error.filename:
            sys.exit(f"error: {error.strerror}: {error.filename}. Check the path, or name another place.")
        raise


def show(table: Table) -> None:
    """Print a table in the width of the terminal; as wide as it is where a file or a program reads it."""
    from rich.console import Console

    screen = Console()
    if not screen.is_terminal:
        whole = screen.options.update(width=10_000)
        screen.width = max(screen.width, screen.measure(table, options=whole).maximum)
    screen.print(table)
