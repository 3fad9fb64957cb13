"""Every verb that writes, killed at any moment and run again: the bytes of an undisturbed run, and no leavings."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kill_projects import PROJECTS, VERBS, made
from killing import Moment, Run, Runs, moments
from spoiling import CAMPAIGN

from hstasks import challenge

KILLS = 20 if CAMPAIGN else 1
# Where every test counts.
_ALWAYS = ("import", "convert anew", "merge", "train", "salt evaluate")
# Of the challenges: they ask the network, or write nothing.
_APART = ("fetch", "leaderboard", "baselines", "leak")


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


def contents(folder: Path, varying: str) -> dict[str, bytes]:
    """The bytes of all files but the saved states, and names alone of those that say how long a run took."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    named = {file.relative_to(folder).as_posix(): file for file in files}
    found = {name: file for name, file in named.items() if not name.startswith("state/")}
    return {name: b"" if file.name == varying else file.read_bytes() for name, file in found.items()}


@pytest.mark.parametrize("name", VERBS if CAMPAIGN else _ALWAYS)
def test_a_killed_run_is_taken_up_by_the_next(
    name: str, runs: Runs, sound: Callable[[str], Path], tmp_path: Path
) -> None:
    verb, draw, folder = VERBS[name], random.Random(name), tmp_path / "project"

    def ended(moment: Moment | None) -> Run:
        """The last run: the first, or the one after a killed one."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sound(verb.project), folder)
        for path in verb.gone.split():
            shutil.rmtree(folder / path) if (folder / path).is_dir() else (folder / path).unlink()
        if moment is not None:
            runs.run(verb.line, folder, moment)
        return runs.run(verb.line, folder)

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
