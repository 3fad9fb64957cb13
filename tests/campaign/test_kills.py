"""Every verb that writes, killed at any moment and run again: the bytes of an undisturbed run, and no leavings."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from spoiling import CAMPAIGN

from hsdata.formats import hdf5
from hsdata.testing import smooth_cube
from hsmodels.testing import model_folder, project

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20 if CAMPAIGN else 1

# A new verb that writes is tried as soon as it is named here.
VERBS = {
    "import": "hsdata import good.h5 --to made --track both",
    "export": "hsdata export good.h5 other.h5 --to made",
    "sample": "hsdata sample made --size 16 --train 4 --workers 1 --force",
    "convert": "hsdata convert --workers 1",
    "merge": "hsdata merge made --copy --workers 1",
    "predict": "hsmodels predict --input data/track2/test-private/rgb_2 --output made --device cpu",
    "submit": "hsmodels submit",
}
# Where every test counts: each verb starts three processes.
_ALWAYS = ("import", "convert", "merge")
# What a run says of itself: when, for how long.
_VARYING = ("state", "throughput.json")


@pytest.fixture(scope="module")
def sound(place: Path) -> Path:
    project(2)
    model_folder(Path("outputs/model"), track=2)
    Path("params.yaml").write_text("track: 2\n")
    for number, name in enumerate(("good", "other")):
        hdf5.write(f"{name}.h5", smooth_cube(number))
    return place


def start(line: str, folder: Path) -> subprocess.Popen[bytes]:
    package, *words = line.split()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HYPEROBJECT_STATE": str(folder / "state"),
        "OMP_NUM_THREADS": "1",
    }
    code = f"from {package}.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finished(line: str, folder: Path) -> float:
    began = time.monotonic()
    process = start(line, folder)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    return time.monotonic() - began


def contents(folder: Path) -> dict[str, bytes]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    named = {file.relative_to(folder).as_posix(): file for file in files}
    return {name: file.read_bytes() for name, file in named.items() if not set(Path(name).parts) & set(_VARYING)}


@pytest.mark.parametrize("verb", VERBS if CAMPAIGN else _ALWAYS)
def test_a_killed_run_is_taken_up_by_the_next(verb: str, sound: Path, tmp_path: Path) -> None:
    line, draw = VERBS[verb], random.Random(verb)
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(sound, undisturbed)
    seconds = finished(line, undisturbed)
    expected = contents(undisturbed)
    for number in range(KILLS):
        folder = tmp_path / f"killed-{number}"
        shutil.copytree(sound, folder)
        process = start(line, folder)
        # The first half of a run imports libraries.
        time.sleep(seconds * draw.uniform(0.4, 1.0))
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.communicate()
        finished(line, folder)
        after = contents(folder)
        assert not list(folder.rglob(".part-*"))
        assert sorted(after) == sorted(expected)
        assert [name for name in after if after[name] != expected[name]] == []
