"""Calls of DVC and git."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from hsengine.base.errors import UserError


def dvc(*arguments: str, check: bool = True) -> tuple[int, str, str]:
    """Run DVC in a process group of its own.

    Returns:
        Its exit code, and what it printed to standard output and to standard error.

    Raises:
        UserError: it fails, and `check`.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    # Files, not pipes: the workers that DVC starts would hold the pipes open until they end.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment(), start_new_session=True
        ).returncode
        output.seek(0)
        errors.seek(0)
        printed, complained = output.read(), errors.read()
    if check and code:
        raise UserError(f"'dvc {' '.join(arguments[:2])}' failed: {reason(complained or printed)}")
    return code, printed, complained


def environment() -> dict[str, str]:
    """The variables for DVC and the stages that its workers run.

    The commands of the pipeline are found beside this Python, and the copy's own packages come before an
    installation that points to this folder: an experiment runs the code that it was queued with.
    """
    found = dict(os.environ)
    found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), *found.get("PATH", "").split(os.pathsep)])
    if Path("hsmodels", "__init__.py").is_file():
        found["PYTHONPATH"] = os.pathsep.join([".", *filter(None, [found.get("PYTHONPATH")])])
    found["DVC_NO_ANALYTICS"] = "1"
    return found


def git(*arguments: str) -> str | None:
    """What git prints; None where it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def reason(text: str) -> str:
    """The words of DVC's last error."""
    parts = re.split(r"^ERROR: ", text, flags=re.MULTILINE)
    lines = [line.strip() for line in parts[-1].splitlines() if line.strip()]
    return " ".join(lines[:4] if len(parts) > 1 else lines[-4:]) or "it does not say why."
