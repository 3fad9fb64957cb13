"""Every verb that writes, killed at any moment and run again: the bytes of an undisturbed run, and no leavings."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kill_projects import PROJECTS, VERBS, made
from killing import KILLED, ROOT, Moment, Run, Runs, moments
from spoiling import CAMPAIGN

from hstasks import challenge

KILLS = 20 if CAMPAIGN else 1
# Where every test counts.
_ALWAYS = ("import", "convert anew", "merge", "train", "salt evaluate")
# Of the challenges: they ask the network, or write nothing.
_APART = ("leaderboard", "baselines", "leak")


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    found = Runs()
    yield found
    found.close()


@pytest.fixture(scope="module")
def sound(runs: Runs, place: Path) -> Callable[[str], Path]:
    """The folder of a project, which is made when it is asked for."""

    def of(name: str) -> Path:
        if not (place / name).exists():
            if name != "cubes":
                pytest.importorskip("timm", reason="the libraries of the image tasks are not installed")
            made(name, place / name, runs)
        return place / name

    return of


@pytest.fixture(scope="module")
def kaggle() -> Iterator[str]:
    """The address of a stand-in for Kaggle."""
    sys.path.insert(0, str(ROOT / "tests/hsdata"))
    from stand_in_kaggle import FILES, archive, served

    with served() as server:
        server.content = archive(FILES)
        yield server.url


def contents(folder: Path, varying: str) -> dict[str, bytes]:
    """The bytes of all files but the saved states, and names alone of those that say how long a run took.

    Of git and DVC it is the experiments' files, and what studies have left.
    """
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    named = {file.relative_to(folder).as_posix(): file for file in files}
    found = {name: file for name, file in named.items() if not name.startswith(("state/", ".git/", ".dvc/tmp/"))}
    bytes_of = {name: b"" if file.name == varying else file.read_bytes() for name, file in found.items()}
    bytes_of |= {name: b"" for name in named if name.startswith(".dvc/tmp/studies/") or name.endswith(".lock")}
    if (folder / ".git").is_dir():
        form = "--format=%(refname:lstrip=4) %(tree)"
        listing = subprocess.check_output(["git", "for-each-ref", form, "refs/exps"], cwd=folder, text=True)
        bytes_of |= {f"experiment {line}": b"" for line in listing.splitlines()}
    return bytes_of


@pytest.mark.parametrize("name", VERBS if CAMPAIGN else _ALWAYS)
def test_a_killed_run_is_taken_up_by_the_next(
    name: str, runs: Runs, sound: Callable[[str], Path], kaggle: str, tmp_path: Path
) -> None:
    verb, draw, folder = VERBS[name], random.Random(name), tmp_path / "project"
    line = verb.line.replace("KAGGLE", kaggle)

    def ended(moment: Moment | None) -> Run:
        """The last run: the first, or the one after a killed one."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sound(verb.project), folder)
        for path in verb.gone.split():
            shutil.rmtree(folder / path) if (folder / path).is_dir() else (folder / path).unlink()
        if moment is not None:
            KILLED[name] += runs.run(line, folder, moment).code < 0
        return runs.run(line, folder)

    undisturbed = ended(None)
    assert undisturbed.code == 0, undisturbed.said
    expected = contents(folder, verb.varying)
    for moment in moments(undisturbed, KILLS, draw):
        last = ended(moment)
        after = contents(folder, verb.varying)
        # What is made once is refused where the killed run had made all of it.
        assert last.code == 0 or " already" in last.said, (moment, last.said)
        assert not list(folder.rglob(".part-*")), moment
        assert sorted(after) == sorted(expected), moment
        assert [name for name in after if after[name] != expected[name]] == [], moment


def test_every_verb_of_every_challenge_is_killed() -> None:
    for name in set(PROJECTS) & set(challenge.NAMES):
        known = challenge.named(name)
        verbs = {*known.stages, *known.tools} - set(_APART)
        assert verbs <= {verb.line.split()[1] for verb in VERBS.values() if verb.project == name}
