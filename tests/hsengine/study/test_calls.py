import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hsengine.base.params import read_yaml
from hsengine.study import calls

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
    apply_overrides(file, calls.overrides({"train.lr": 0.5, key: value}))
    expected = {"lr": 0.5, "steps": {}, key.split(".")[1]: value}
    assert read_yaml(file) == {"train": expected}


@pytest.mark.parametrize("value", ["${HOME}", "a\nb", {"a b": 1}, object()])
def test_a_value_that_dvc_cannot_take_is_refused_by_its_key(value):
    with pytest.raises(UserError, match=r"^train\.lr: "):
        calls.overrides({"train.lr": value})


def test_the_reason_is_dvcs_last_error():
    text = "Queueing.\nWARNING: old\nERROR: first\n\nERROR: name 'a' exists.\nTo overwrite, run:\n\n\tdvc exp run -f\n"
    assert calls.reason(text) == "name 'a' exists. To overwrite, run: dvc exp run -f"
    assert calls.reason("") == "it does not say why."


def test_the_commands_of_the_pipeline_are_found_beside_this_python(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/elsewhere")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    found = calls.environment(tmp_path)
    assert (Path(found["PATH"].split(os.pathsep)[0]) / "python").exists()
    assert found["PATH"].endswith("/elsewhere")
    assert "PYTHONPATH" not in found


@pytest.mark.parametrize(("below", "path"), [(".", "."), ("challenges/x", "../..")])
def test_a_copy_of_the_sources_runs_its_own_code(tmp_path, monkeypatch, below, path):
    monkeypatch.setenv("PYTHONPATH", "/mine")
    for folder in ("hsengine", "challenges/x", ".git"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "hsengine" / "__init__.py").touch()
    assert calls.environment(tmp_path / below)["PYTHONPATH"] == f"{path}{os.pathsep}/mine"


def test_the_sources_around_another_repository_are_not_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "hsengine").mkdir()
    (tmp_path / "hsengine" / "__init__.py").touch()
    (tmp_path / "mine" / ".git").mkdir(parents=True)
    assert "PYTHONPATH" not in calls.environment(tmp_path / "mine")
