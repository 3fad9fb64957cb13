"""Salt at the competition's size: catalog, mosaic and split of tiles on disk, in time, processor time and memory.

Makes its own tiles in the competition's layout. Each stage is a process of its own; memory is the most of it or of one
of its workers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STAGES = ("catalog", "mosaic", "split")
# In processes of their own: what this one held would count as theirs.
SAMPLE = (
    "import sys; from hstasks.salt import sample; "
    "print(sample.run('data', train=int(sys.argv[1]), test=int(sys.argv[2])))"
)
CALL = "import sys; from hstasks.cli import main; sys.argv = ['hstasks', *sys.argv[1:]]; main()"
PARAMS = Path(__file__).parent.parent / "challenges" / "salt" / "params.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=4_000, help="labelled tiles")
    parser.add_argument("--test", type=int, default=0, help="test tiles; the competition has 18,000")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="salt-"))
    try:
        numbers = [str(options.train), str(options.test)]
        subprocess.run([sys.executable, "-c", SAMPLE, *numbers], cwd=folder, check=True)
        shutil.copy(PARAMS, folder)
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for stage in STAGES:
            seconds, processor, memory = measured(stage, folder)
            print(f"  {stage:8s} {seconds:7.1f} s, processor {processor:7.1f} s, {memory:6.0f} MB", flush=True)
    finally:
        shutil.rmtree(folder)


def measured(stage: str, folder: Path) -> tuple[float, float, float]:
    """Seconds, processor seconds and most MB of a stage."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", CALL, stage], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the stage {stage} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
