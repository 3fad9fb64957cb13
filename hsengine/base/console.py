"""What all command lines share: tables, and errors for the person who must act with their exit codes."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hsengine.base.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table


def run(app: Callable[..., Any]) -> None:
    """Run a Typer application; the user's mistakes end in one message and exit code 1."""
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
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            sys.exit(f"error: {error.strerror}: {error.filename or 'while writing'}. Free space or mend permissions.")
        raise


def show(table: Table) -> None:
    """Print a table in the width of the terminal; as wide as it is where a file or a program reads it."""
    from rich.console import Console

    screen = Console()
    if not screen.is_terminal:
        whole = screen.options.update(width=10_000)
        screen.width = max(screen.width, screen.measure(table, options=whole).maximum)
    screen.print(table)
