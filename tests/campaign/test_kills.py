"""Every verb that writes, killed at any moment and run again: the bytes of an undisturbed run, and no leavings."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from spoiling import CAMPAIGN

from hsdata.formats import hdf5
from hsdata.testing import smooth_cube
from hsmodels import evaluate, train
from hsmodels.params import load_params
from hsmodels.testing import project

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20 if CAMPAIGN else 1
# Fixtures.
CUBES, TILES = "cubes", "tiles"

# A new verb that writes is tried as soon as it is named here.
VERBS = {
    "import": (CUBES, "hsdata import good.h5 --to made --track both"),
    "export": (CUBES, "hsdata export good.h5 other.h5 --to made"),
    "sample": (CUBES, "hsdata sample made --size 16 --train 4 --workers 1 --force"),
    "catalog": (CUBES, "hsdata catalog --workers 1"),
    "convert": (CUBES, "hsdata convert --workers 1"),
    "render": (CUBES, "hsdata render --workers 1"),
    "merge": (CUBES, "hsdata merge made --copy --workers 1"),
    "train": (CUBES, "hsmodels train"),
    "evaluate": (CUBES, "hsmodels evaluate"),
    "predict": (CUBES, "hsmodels predict --input data/track2/test-private/rgb_2 --output made --device cpu"),
    "submit": (CUBES, "hsmodels submit"),
    "report": (CUBES, "hsmodels report"),
    "tasks sample": (TILES, "hstasks sample made"),
    "tasks catalog": (TILES, "hstasks catalog"),
    "tasks split": (TILES, "hstasks split"),
    "tasks train": (TILES, "hstasks train"),
    "tasks evaluate": (TILES, "hstasks evaluate"),
    "tasks predict": (TILES, "hstasks predict --input data/test/images --output made --device cpu"),
    "tasks submit": (TILES, "hstasks submit"),
}
# Where every test counts: each verb starts three processes.
_ALWAYS = ("import", "convert", "merge", "train", "tasks evaluate")
# What a run says of itself: when, for how long.
_VARYING = ("state", "throughput.json")


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


# Of a model that is trained in a second.
PARAMS = {
    "track": 2,
    "model": "example",
    "models": {"example": {"width": 4}},
    "residual": "none",
    "stripes": False,
    "train": {"epochs": 2, "batch_size": 2, "warmup_epochs": 0},
    "machine": {"trackers": [], "state_minutes": 0.001},
    "evaluate": {"pictures": 1, "baselines": False},
}


@pytest.fixture(scope="module")
def cubes(place: Path, monkeypatch_module: pytest.MonkeyPatch) -> Path:
    """A project of cubes that was trained and evaluated."""
    folder = place / "cubes"
    folder.mkdir()
    monkeypatch_module.chdir(folder)
    project(2)
    YAML().dump(PARAMS, Path("params.yaml"))
    for number, name in enumerate(("good", "other")):
        hdf5.write(f"{name}.h5", smooth_cube(number))
    params = load_params()
    train.run(params)
    evaluate.run(params)
    return folder


@pytest.fixture(scope="module")
def tiles(place: Path, monkeypatch_module: pytest.MonkeyPatch) -> Path:
    """The same of tiles of the salt challenge."""
    pytest.importorskip("timm", reason="the libraries of the image tasks are not installed")
    sys.path.insert(0, str(ROOT / "tests/hstasks/salt"))
    from small_salt import SMALL, divided, small

    from hstasks.salt import evaluate as evaluating
    from hstasks.salt import sample
    from hstasks.salt import train as training

    folder = place / "tiles"
    folder.mkdir()
    monkeypatch_module.chdir(folder)
    YAML().dump({"challenge": "salt", **SMALL}, Path("params.yaml"))
    sample.run(Path("data"), train=40, test=12, seed=3)
    divided(small())
    training.run(small())
    evaluating.run(small())
    return folder


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
def test_a_killed_run_is_taken_up_by_the_next(verb: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    (where, line), draw = VERBS[verb], random.Random(verb)
    sound = request.getfixturevalue(where)
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
