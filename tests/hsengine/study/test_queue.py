import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hsengine.base.params import read_yaml
from hsengine.study import calls, queue

_TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=12),
    st.sampled_from(
        ["no", "null", "1", "1e5", "true", "", " a ", "it's", "\\", "a\\'b\\\\", "val/SSC", "a: b", "{x}", "#1"]
    ),
).filter(lambda text: "${" not in text and text.isprintable())
_PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False), _TEXTS
)


@given(st.one_of(_PLAIN, st.lists(_PLAIN, max_size=3), st.dictionaries(st.integers(0, 99), st.integers(), min_size=1)))
def test_dvc_sets_exactly_the_value_that_is_meant(tmp_path_factory, value):
    from dvc.utils.hydra import apply_overrides

    file = tmp_path_factory.mktemp("project") / "params.yaml"
    file.write_text("train:\n  lr: 0.1  # kept\n  steps: {}\n")
    key = "train.steps" if isinstance(value, dict) else "train.other"
    apply_overrides(file, queue.overrides({"train.lr": 0.5, key: value}))
    expected = {"lr": 0.5, "steps": {}, key.split(".")[1]: value}
    assert read_yaml(file) == {"train": expected}


@pytest.mark.parametrize("value", ["${HOME}", "a\nb", {"a b": 1}, object()])
def test_a_value_that_dvc_cannot_take_is_refused_by_its_key(value):
    with pytest.raises(UserError, match=r"^train\.lr: "):
        queue.overrides({"train.lr": value})


STATUS = """\
Task     Name            Created       Status
5d9010f  lrs-small-s0    03:01 AM      Running
f25f0be  lrs-small-s1    Nov 20, 2026  Queued
a7bdc4e  lrs-small-s1    03:05 AM      Failed

Worker status: 2 active, 0 idle
"""


def test_the_queue_is_read_row_by_row(monkeypatch):
    monkeypatch.setattr(queue, "dvc", lambda *arguments: (0, STATUS, ""))
    found = queue.look()
    assert found.active == 2
    assert [entry.name for entry in found.entries] == ["lrs-small-s0", "lrs-small-s1", "lrs-small-s1"]
    assert [entry.revision for entry in found.of("lrs-small-s1", "Queued", "Failed")] == ["f25f0be", "a7bdc4e"]
    assert found.of("lrs-small-s0", "Failed") == []


def test_an_empty_queue_has_no_rows(monkeypatch):
    monkeypatch.setattr(queue, "dvc", lambda *arguments: (0, "No experiment tasks in the queue.\n", ""))
    assert queue.look() == queue.Queue((), 0)


def _note(folder, name, process, returncode):
    place = folder / ".dvc/tmp/exps/run" / name
    place.mkdir(parents=True)
    info = {"root_dir": str(folder / "copy"), "wdir": ".", "name": name, "baseline_rev": "0" * 40}
    (place / f"{name}.run").write_text(json.dumps(info))
    (place / f"{name}.json").write_text(json.dumps({"pid": process, "returncode": returncode}))


def test_runs_tell_where_an_experiment_runs_and_whether_it_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _note(tmp_path, "here", os.getpid(), None)
    _note(tmp_path, "ended", os.getpid(), 0)
    _note(tmp_path, "gone", 2**22 + 1, None)
    (tmp_path / ".dvc/tmp/exps/run/here/damaged.run").write_text("{")
    found = {run.name: run for run in queue.runs()}
    assert {name: run.alive for name, run in found.items()} == {"here": True, "ended": False, "gone": False}
    assert found["here"].root == tmp_path / "copy"
    found["gone"].stop()
    found["ended"].stop()


def test_the_reason_is_dvcs_last_error():
    text = "Queueing.\nWARNING: old\nERROR: first\n\nERROR: name 'a' exists.\nTo overwrite, run:\n\n\tdvc exp run -f\n"
    assert calls.reason(text) == "name 'a' exists. To overwrite, run: dvc exp run -f"
    assert calls.reason("") == "it does not say why."


def test_the_commands_of_the_pipeline_are_found_beside_this_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/elsewhere")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    found = calls.environment()
    assert (Path(found["PATH"].split(os.pathsep)[0]) / "python").exists()
    assert found["PATH"].endswith("/elsewhere")
    assert "PYTHONPATH" not in found


def test_a_copy_of_the_sources_runs_its_own_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/mine")
    (tmp_path / "hsmodels").mkdir()
    (tmp_path / "hsmodels" / "__init__.py").touch()
    assert calls.environment()["PYTHONPATH"] == f".{os.pathsep}/mine"
