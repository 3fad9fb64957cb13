"""Reads commands of DVC from standard input, one JSON list a line, and answers each with its exit code."""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Run the commands one after the other in this process."""
    # DVC prints to standard output, which is for the answers.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        from dvc.cli import main as dvc

        for line in sys.stdin:
            print(dvc(json.loads(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
