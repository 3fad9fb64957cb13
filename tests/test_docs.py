"""What the documentation shows runs, and what it names is there: commands, options, parameters, files."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
import typer
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser

import hsdata.cli
import hsmodels.cli
import hstasks.cli
from hsdata import sample
from hsengine.base.params import read_yaml
from hsmodels.testing import model_folder

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "challenges/*/README.md")
    for page in ROOT.glob(pattern)
)
PROGRAMS = {
    name: typer.main.get_command(app)
    for name, app in {"hsdata": hsdata.cli.app, "hsmodels": hsmodels.cli.app, "hstasks": hstasks.cli.app}.items()
}
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
# Stands for a file or a name that the reader chooses.
CHOSEN = re.compile(r"[A-Z]{2,}|<|…|\*|\bname\b")


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page):
    """The Python of a page, each block at the line where it stands, so that a fault names that line."""
    text = text_of(page)
    return [
        "\n" * text.count("\n", 0, found.start(2)) + found[2] for found in FENCED.finditer(text) if found[1] == "python"
    ]


def inline(page):
    """What stands between single backticks."""
    return re.findall(r"`([^`]+)`", FENCED.sub("", text_of(page)))


def commands(page):
    """The words of each command that a page shows, in a block or in a line."""
    shown = [
        line for found in FENCED.finditer(text_of(page)) if found[1] in ("", "sh") for line in found[2].splitlines()
    ]
    for line in [*shown, *(" ".join(part.split()) for part in inline(page))]:
        for part in re.split(r"&&|\||;| #", line):
            with contextlib.suppress(ValueError):
                words = shlex.split(part.removesuffix("\\").strip())
                words = words[next((n for n, word in enumerate(words) if not re.match(r"[A-Z_]+=|srun$", word)), 0) :]
                if words and words[0] in (*PROGRAMS, "dvc", "make"):
                    yield words


def params_of(page):
    """The parameters that a page is about."""
    return read_yaml(project_of(page) / "params.yaml")


def project_of(page):
    """The folder of the project that a page is about: a challenge's own, or the flagship's."""
    names = [Path(page).stem, Path(page).parent.name]
    own = [ROOT / "challenges" / name for name in names if name and (ROOT / "challenges" / name).is_dir()]
    return own[0] if own else ROOT


def missing(params, key):
    """Whether a dotted key is none of the parameters; what stands in an empty table is the reader's."""
    held = params
    for part in key.split("."):
        if held == {}:
            return False
        if not isinstance(held, dict) or part not in held:
            return True
        held = held[part]
    return False


def fault(words):
    """What is wrong with a command of ours, or None."""
    # What `hstasks` shows for the challenge of a folder is what the flagship shows for itself.
    shared = words[0] == "hstasks" and words[1:] and words[1] in ("recipe", "study")
    command, rest = PROGRAMS["hsmodels" if shared else words[0]], words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            if command.name == "study":
                command = command.commands["run"]
                break
            return f"there is no verb '{rest[0]}'"
        command, rest = command.commands[rest[0]], rest[1:]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    wrong = [word for word in rest if re.match(r"--?[a-zA-Z]", word) and word.split("=")[0] not in {*options, "--help"}]
    return f"there is no option {wrong}" if wrong else None


@pytest.mark.parametrize("page", ["docs/adding-a-task.md"])
def test_the_examples_of_a_page_run_as_one_program(tmp_path, monkeypatch, page):
    monkeypatch.chdir(tmp_path)
    assert blocks(page)
    run(page)


def test_the_quick_start_scores_a_prediction(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sample.make("data", size=16, train=24, test_public=6, test_private=0, workers=1)
    model_folder(track=2, seed=1)
    names = run("README.md")
    assert names["prediction"].shape == names["cube"].values.shape == (61, 16, 16)
    assert names["prediction"].min() >= 0.001
    assert 0 <= names["values"]["SSC"] <= 1
    assert "(61, 16, 16) 400.0 1000.0" in capsys.readouterr().out


def run(page):
    names = {"__name__": "example"}
    for block in blocks(page):
        exec(compile(block, page, "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_exist_with_their_options(page):
    faults = {shlex.join(words): fault(words) for words in commands(page) if words[0] in PROGRAMS}
    assert {command: told for command, told in faults.items() if told} == {}


@pytest.mark.parametrize("page", PAGES)
def test_the_targets_of_make_that_a_page_names_exist(page):
    named = [word for words in commands(page) if words[0] == "make" for word in words[1:] if "=" not in word]
    assert [name for name in named if name not in TARGETS] == []


@pytest.mark.parametrize("page", PAGES)
def test_dvc_understands_the_commands_of_a_page(page):
    for words in commands(page):
        if words[0] == "dvc" and len(words) > 1:
            # A verb that is named without what it acts on gets something to act on.
            assert understood(words[1:]) or understood([*words[1:], "x"]), shlex.join(words)


def understood(words):
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            get_main_parser().parse_args(words)
        except (DvcParserError, SystemExit):
            return False
        return True


@pytest.mark.parametrize("page", PAGES)
def test_the_parameters_that_a_page_names_exist(page):
    params = params_of(page)
    set_ = re.findall(r"(?:-S|--set-param) '?\+?([\w.]+)=", text_of(page))
    named = [found[1] for code in inline(page) if (found := re.match(r"([a-z_]+(?:\.[a-z0-9_]+)+)(?:: |$)", code))]
    sections = {name for name, held in params.items() if isinstance(held, dict)}
    named = [key for key in named if key.split(".")[0] in sections and not key.endswith((".py", ".dvc"))]
    assert [key for key in [*set_, *named] if missing(params, key)] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_a_page_names_exist(page):
    text, here = text_of(page), (ROOT / page).parent
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (here / link).exists()] == []
    folders = [
        path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ("data", "derived", "outputs")
    ]
    paths = [
        path.rstrip("/,")
        for code in [*inline(page), *(" ".join(words) for words in commands(page))]
        for path in code.split()
        if path.partition("/")[0] in folders and "/" in path and not CHOSEN.search(path)
    ]
    places = (ROOT, here, project_of(page))
    assert [path for path in paths if not any((place / path).exists() for place in places)] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_sections_that_a_page_links_to_exist(page):
    for place, section in re.findall(r"\]\(([^)\s#]*)#([^)\s]+)\)", text_of(page)):
        if "://" in place:
            continue
        file = (ROOT / page).parent / place if place else ROOT / page
        titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert section in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
