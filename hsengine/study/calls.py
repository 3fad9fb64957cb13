"""Calls of DVC and git."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hsengine.base.errors import UserError

DVC = (sys.executable, "-m", "dvc")


def environment(project: Path) -> dict[str, str]:
    """The variables for DVC and the stages that it runs.

    The commands of the pipeline are found beside this Python, and the packages of the project's repository, if it
    holds them, come before any installation: an experiment runs the code of its copy. The path is relative, since
    DVC runs the stages in a further copy.

    Args:
        project: the project's folder, at any depth of its git repository.
    """
    found = dict(os.environ)
    found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), *found.get("PATH", "").split(os.pathsep)])
    project = project.resolve()
    for folder in (project, *project.parents):
        if (folder / "hsengine" / "__init__.py").is_file():
            inherited = filter(None, [found.get("PYTHONPATH")])
            found["PYTHONPATH"] = os.pathsep.join([os.path.relpath(folder, project), *inherited])
        if (folder / ".git").exists():
            break
    found["DVC_NO_ANALYTICS"] = "1"
    return found


def git(*arguments: str, folder: str | os.PathLike[str] | None = None) -> str | None:
    """What git prints; None where it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=folder)
    return done.stdout.strip() if done.returncode == 0 else None


def must(*command: str, folder: str | os.PathLike[str] | None = None) -> str:
    """What a command prints.

    Raises:
        UserError: it fails; with its own words.
    """
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=folder, env=environment(Path.cwd())
    )
    if done.returncode:
        words = " ".join(command).replace(" ".join(DVC), "dvc")
        raise UserError(f"'{words}' failed: {reason(done.stderr or done.stdout)}")
    return done.stdout.strip()


def reason(text: str) -> str:
    """The words of DVC's last error."""
    parts = re.split(r"^ERROR: ", text, flags=re.MULTILINE)
    lines = [line.strip() for line in parts[-1].splitlines() if line.strip()]
    return " ".join(lines[:4] if len(parts) > 1 else lines[-4:]) or "it does not say why."


def overrides(values: Mapping[str, Any]) -> list[str]:
    """Values as `dvc exp run --set-param` takes them.

    Raises:
        UserError: a value cannot be written so.
    """
    # '++' sets a key that params.yaml may lack; unknown ones have been refused by then.
    return [f"++{key}={_written(value, key)}" for key, value in values.items()]


def _written(value: Any, key: str) -> str:
    """A value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        if "${" in value or not value.isprintable():
            raise UserError(
                f"{key}: the text {value!r} cannot be given to 'dvc exp run': set it in params.yaml itself."
            )
        # Backslashes count only before a quote.
        escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", value)
        return "'" + re.sub(r"(\\+)$", lambda match: match[1] * 2, escaped) + "'"
    if isinstance(value, Sequence):
        return f"[{','.join(_written(part, key) for part in value)}]"
    if isinstance(value, Mapping):
        if not all(re.fullmatch(r"-?\w+", str(name)) for name in value):
            raise UserError(f"{key}: a mapping with the keys {list(value)} cannot be given to 'dvc exp run'.")
        return f"{{{','.join(f'{name}:{_written(part, key)}' for name, part in value.items())}}}"
    raise UserError(f"{key}: {value!r} is neither a number, a text, a list nor a mapping.")
