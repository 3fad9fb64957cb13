"""Every verb of every command line, found by looking at the commands, with paths and numbers that cannot be."""

import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hsdata.cli import app as hsdata
from hsdata.formats import hdf5
from hsdata.testing import smooth_cube
from hsengine.base import console
from hsmodels.cli import app as hsmodels
from hsmodels.testing import model_folder, project
from hstasks.cli import app as hstasks

APPS = {"hsdata": hsdata, "hsmodels": hsmodels, "hstasks": hstasks}
# No verb of the campaign takes longer; a pipe that is opened waits for ever.
_SECONDS = 60
# Verbs that reach for the network, and what they cannot do without.
_APART = {"fetch"}


def _leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if not inner:
        yield words, command
        return
    for name, part in inner.items():
        yield from _leaves(part, (*words, name))


COMMANDS = {
    " ".join((name, *words)): (app, words, command)
    for name, app in APPS.items()
    for words, command in _leaves(typer.main.get_command(app))
    if words[-1] not in _APART
}


def _kind(parameter: Any) -> str:
    # As Typer has it, whichever command library it brings.
    described = getattr(parameter, "type_descriptor", None)
    return str(getattr(described, "annotation", getattr(parameter, "type", ""))).lower()


def _is_place(parameter: Any) -> bool:
    """Whether a parameter is a path: by its type, or as a list of captures."""
    return "path" in _kind(parameter) or parameter.name in ("sources", "paths", "white", "dark", "mask", "camera")


def _places() -> list[tuple[str, str]]:
    return [
        (name, parameter.name)
        for name, (_, _, command) in COMMANDS.items()
        for parameter in command.params
        if _is_place(parameter)
    ]


def _numbers() -> list[tuple[str, str]]:
    return [
        (name, parameter.name)
        for name, (_, _, command) in COMMANDS.items()
        for parameter in command.params
        if "float" in _kind(parameter)
    ]


@pytest.fixture(scope="module")
def sound(place: Path) -> Path:
    """A project with data and a model."""
    project(2)
    model_folder(Path("outputs/model"), track=2)
    Path("params.yaml").write_text("track: 2\ntrain: {epochs: 1}\n")
    hdf5.write("good.h5", smooth_cube(1))
    return place


@pytest.fixture
def here(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for one test."""
    shutil.copytree(sound, tmp_path / "project", dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def called(name: str, values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """What a command exits with; other parameters that it needs get sound values."""
    app, words, command = COMMANDS[name]
    options: list[str] = []
    arguments: list[str] = []
    for parameter in command.params:
        value = values.get(parameter.name)
        if value is None and parameter.required:
            value = _SOUND.get(parameter.name, "made")
        if value is None:
            continue
        if not parameter.opts[0].startswith("-"):
            arguments.append(value)
        else:
            options += [parameter.opts[0], value]
    monkeypatch.setattr(sys, "argv", [name, *words, *options, "--", *arguments])

    def late(*_: object) -> None:
        raise AssertionError(f"{name} has not ended after {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_SECONDS)
    try:
        with pytest.raises(SystemExit) as ended:
            console.run(app)
        return ended.value.code
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


_SOUND = {
    "sources": "good.h5",
    "paths": "good.h5",
    "input": "data/track2/test-private/rgb_2",
    "file": "outputs/model/model.safetensors",
    "name": "baseline",
    "track": "2",
}


def _pipe(file: Path) -> None:
    os.mkfifo(file)


# What can stand at a path in place of what is meant.
NATURES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "a pipe": ("x.h5", _pipe),
    "an empty file": ("x.h5", Path.touch),
    "bytes": ("x.yaml", lambda file: file.write_bytes(bytes(range(256)))),
    "a folder": ("x.csv", Path.mkdir),
    "a link to itself": ("x", lambda file: file.symlink_to(file)),
    "below a file": ("x/y", lambda file: file.parent.write_text("a file")),
    "a name that is no text": (os.fsdecode(b"caf\xe9.h5"), lambda file: shutil.copy("good.h5", file)),
    "a name that is too long": ("n" * 300, lambda file: None),
}


@pytest.mark.parametrize(("name", "parameter"), _places(), ids=lambda text: text)
def test_a_path_that_is_something_else_is_answered(
    name: str, parameter: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for nature, (file, make) in NATURES.items():
        if parameter == "params" and nature == "an empty file":
            # Parameters that are all left as they are: a training of an hour.
            continue
        shutil.rmtree("tried", ignore_errors=True)
        Path("tried").mkdir()
        make(Path("tried", file))
        code = called(name, {parameter: str(Path("tried", file))}, monkeypatch)
        said = code if isinstance(code, str) else "".join(capsys.readouterr())
        assert code in (0, 1, 2, None) or str(code).startswith("error: "), (nature, code)
        assert "Traceback" not in said, (nature, said)


@pytest.mark.parametrize(("name", "parameter"), _numbers(), ids=lambda text: text)
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e400"])
def test_a_number_that_is_not_finite_is_refused(
    name: str, parameter: str, value: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = called(name, {parameter: value}, monkeypatch)
    assert code == 2 or str(code).startswith("error: "), code


def _contents() -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(Path().rglob("*")) if file.is_file()}


WRITERS = {
    "hsdata sample": {"root": "made", "size": "16", "train": "2"},
    "hsdata import": {"to": "made"},
    "hsdata export": {"to": "made"},
    "hsdata merge": {"out": "made"},
    "hsdata catalog": {},
    "hsdata convert": {},
    "hsdata render": {},
    "hsdata index make": {},
    "hsmodels evaluate": {},
    "hsmodels submit": {},
    **{f"hsmodels predict {kind}": {"output": "made", "format": kind} for kind in ("h5", "npy", "npz", "zarr")},
    "hsmodels import-checkpoint": {"to": "made"},
}


@pytest.mark.parametrize("verb", WRITERS)
def test_a_full_disk_is_said_and_nothing_is_lost(verb: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = " ".join(verb.split()[: 3 if verb.startswith("hsdata index") else 2])
    monkeypatch.setenv("HYPEROBJECT_STATE", str(here / "state-of-test"))
    before = _contents()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file grows beyond this: what a disk says that is full, in every process.
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, hard))
    try:
        code = called(
            name, {**WRITERS[verb], "workers": "1"} if "workers" in _named(name) else WRITERS[verb], monkeypatch
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert str(code).startswith("error: "), code
    after = _contents()
    sources = [file for file in before if file.startswith(("data", "good", "params", "outputs/model"))]
    assert [file for file in sources if after.get(file) != before[file]] == []
    assert not [file for file in after if ".part-" in file]


def _named(name: str) -> set[str]:
    return {parameter.name for parameter in COMMANDS[name][2].params}
