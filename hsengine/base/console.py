"""What both command lines share: errors for the person who must act, and their exit codes."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import Any

from hsengine.base.errors import UserError


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
