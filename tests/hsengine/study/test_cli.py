import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hsengine.study import verbs
from hsengine.study.run import Outcome
from hsengine.study.table import made
from hsmodels import cli


@pytest.fixture
def called(monkeypatch):
    """What the verbs were called with."""
    found = []
    shown = verbs.Shown(["", "SSC"], [["a", "0.5"]], made("s", ["", "SSC"], [["a", "0.5"]]), ["mind this"])
    monkeypatch.setattr(
        verbs, "run", lambda project, file, params, *, jobs, say: found.append((str(file), jobs)) or Outcome(["a"], [])
    )
    monkeypatch.setattr(verbs, "show", lambda project, file, params, *, picture=None: shown)
    monkeypatch.setattr(verbs, "best", lambda project, file, params: ["a is best"])
    return found


def _invoke(*words):
    return CliRunner().invoke(cli.app, ["study", *words], catch_exceptions=False)


@pytest.mark.parametrize("words", [["run", "s.yaml", "--jobs", "2"], ["s.yaml", "-j", "2"]])
def test_a_study_is_run_with_and_without_the_word_run(called, words):
    done = _invoke(*words)
    assert called == [("s.yaml", 2)]
    assert "mind this" in done.output
    assert done.exit_code == 0


def test_show_prints_markdown(called):
    assert _invoke("show", "s.yaml", "--markdown").output == "|  | SSC |\n| --- | ---: |\n| a | 0.5 |\n\nmind this\n"


def test_a_table_that_is_read_by_a_program_is_as_wide_as_it_is(called, monkeypatch):
    titles, line = ["", "SSC (more is better)"], ["a-very-long-name-of-a-variant" * 3, "0.5 ± 0.1"]
    shown = verbs.Shown(titles, [line], made("s", titles, [line]), [])
    monkeypatch.setattr(verbs, "show", lambda project, file, params, *, picture=None: shown)
    assert all(any(text in row for row in _invoke("show", "s.yaml").output.splitlines()) for text in titles + line)


def test_best_says_what_it_did(called):
    assert _invoke("best", "s.yaml").output == "a is best\n"


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from typer.testing import CliRunner; from hsmodels import cli; "
        "CliRunner().invoke(cli.app, ['study', '--help']); CliRunner().invoke(cli.app, ['recipe', '--help']); "
        "print(*{'torch', 'dvc', 'pandas', 'optuna'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n")
