import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hsengine.base.params import flat, read_yaml, validated
from hsengine.study import naming, plan
from hsengine.study.file import Study
from hsengine.study.plan import Plan
from hsmodels.params import Params
from hsmodels.project import PROJECT

ROOT = Path(__file__).resolve().parents[3]
RAW = read_yaml(ROOT / "params.yaml")


def _plan(**given):
    return Plan(validated(Study, {"name": "trial", **given}, "study.yaml"), PROJECT, RAW)


def _expanded(**given):
    return _plan(**given).experiments()


def test_variants_seeds_and_folds_multiply_with_readable_names():
    found = _expanded(variants={"plain": None, "fast": {"train.lr": 0.01}}, seeds=2, folds=3)
    assert len(found) == 12
    assert [one.name for one in found][:4] == [
        "trial-plain-s0-f0",
        "trial-plain-s0-f1",
        "trial-plain-s0-f2",
        "trial-plain-s1-f0",
    ]
    last = found[-1]
    assert last.name == "trial-fast-s1-f2"
    assert last.label == "fast"
    assert last.values == {
        "train.lr": 0.01,
        "seed": 1,
        "index.strategy": "folds",
        "index.folds": 3,
        "index.fold": 2,
    }


@pytest.mark.parametrize("file", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_studies_of_the_project_can_be_run(file):
    found = plan.load(file, ROOT / "params.yaml", PROJECT)
    assert found.study.name == file.stem
    assert found.experiments()


def test_listed_folds_are_some_of_those_in_the_parameters():
    found = _expanded(base={"index.folds": 7}, folds=[5, 6])
    assert [(one.values["index.fold"], one.values["index.folds"]) for one in found] == [(5, 7), (6, 7)]


def test_a_variant_changes_the_base_and_nothing_of_the_other_variants():
    found = _expanded(base={"train.lr": 0.1, "train.ema": 0.9}, variants={"a": {"train.ema": 0.5}, "b": {"track": 2}})
    assert [one.values for one in found] == [
        {"train.lr": 0.1, "train.ema": 0.5},
        {"train.lr": 0.1, "train.ema": 0.9, "track": 2},
    ]


def test_a_stage_adds_to_the_one_before():
    found = _expanded(stages={"plain": None, "ema": {"train.ema": 0.9}, "noise": {"augment": {"noise": 0.1}}})
    assert [one.values for one in found] == [{}, {"train.ema": 0.9}, {"train.ema": 0.9, "augment.noise": 0.1}]


def test_a_grid_has_every_combination_and_names_keys_as_far_as_needed():
    found = _expanded(grid={"seed": [0, 1], "smote.seed": [3], "train.lr": [1e-3, 1e-5], "augment.crop": [None, 64]})
    assert len(found) == 8
    assert found[0].name == "trial-seed-0-smote-seed-3-train-lr-0.001-augment-crop-null"


def test_grid_points_whose_texts_are_equal_are_told_apart():
    found = _expanded(grid={"augment.noise": [0.1234567, 0.1234568]})
    assert len({one.name for one in found}) == 2
    assert all(re.fullmatch(r"trial-noise-0\.123457-[0-9a-f]{4}", one.name) for one in found)


def test_a_study_of_nothing_is_one_experiment():
    assert [one.name for one in _expanded()] == ["trial-base"]


def test_the_shipped_study_is_two_models_by_two_seeds():
    found = plan.load(ROOT / "studies" / "models.yaml", ROOT / "params.yaml", PROJECT).experiments()
    assert len(found) == 4
    assert {(one.values["model"], one.values["seed"]) for one in found} == {
        ("example", 0),
        ("example", 1),
        ("mstpp", 0),
        ("mstpp", 1),
    }


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=80),
    st.lists(st.integers(), max_size=3),
)


@given(st.lists(_SCALARS, min_size=1, max_size=6, unique_by=lambda value: (type(value).__name__, str(value))))
def test_every_name_is_one_that_git_takes(values):
    labels = _plan(grid={"x.y": values}).settings()
    assert len(labels) == len(values)
    for label in labels:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", label)
        assert ".." not in label
        assert not label.endswith((".", ".lock", "-"))


def test_a_long_name_is_cut_and_stays_unique(tmp_path):
    wide = [f"{letter * 30}" for letter in "ab"]
    found = [naming.shortened("-".join(["study", *wide * 3, end])) for end in ("x", "y")]
    assert len(set(found)) == 2
    assert all(len(name) <= 120 for name in found)
    for name in found:
        subprocess.run(["git", "check-ref-format", f"refs/exps/aa/bb/{name}"], check=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"variants": {"a": {"train.lrr": 1}}}, r"'trial-a' cannot be used:\n  train\.lrr: unknown key"),
        ({"base": {"tain.lr": 1.0}}, r"tain: unknown key; did you mean 'train'"),
        ({"grid": {"train.epochs": [0]}}, r"train\.epochs: 0 is not allowed"),
        ({"folds": [5]}, r"fold 5 does not exist"),
        ({"baseline": "b", "variants": {"a": None}}, r"baseline: the study has no 'b'; it has a"),
        ({"base": {"train..lr": 1.0}}, r"'train\.\.lr' is no key"),
        ({"base": {"train.lr": float("inf")}}, r"train\.lr: inf is not allowed: a finite number is needed"),
        ({"grid": {"train.optimizer_options.betas": [[0.9, float("nan")]]}}, r"betas: nan is not allowed: a finite"),
    ],
)
def test_wrong_parameters_are_named_before_anything_runs(given, message):
    with pytest.raises(UserError, match=message):
        _expanded(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"variant": {}}, r"variant: unknown key; did you mean 'variants'"),
        ({"name": "a b"}, r"name: 'a b' is not allowed: names are made of letters"),
        ({"name": "a..b"}, "names are made of letters"),
        ({"name": "a.lock"}, "names are made of letters"),
        ({"variants": {"a/b": None}}, "names are made of letters"),
        ({"variants": {"a": None}, "stages": {"b": None}}, "variants or stages, not both"),
        ({"seeds": 100_000_000}, "it stands for 100,000,000 experiments, and 10,000 are the most"),
        ({"seeds": 200, "folds": 60}, "it stands for 12,000 experiments"),
        ({"search": {"trials": 10**8, "space": {"seed": [0, 1]}}}, "search.trials: 100000000 is not allowed"),
        ({"search": {"trials": 1, "space": {"train.lr": {"low": 0, "high": float("inf")}}}}, "finite number"),
        ({"seeds": 0}, "give how many, from 1 upwards"),
        ({"seeds": [1, 1]}, "list different numbers"),
        ({"folds": 1}, "at least 2 are needed"),
        ({"grid": {"train.lr": []}}, "train.lr has no values"),
        ({"seeds": 2, "search": {"trials": 1, "space": {"seed": [0, 1]}}}, "search goes without seeds"),
        ({"search": {"trials": 1, "space": {"seed": {"low": 2, "high": 1}}}}, "low 2 must be below high 1"),
        ({"search": {"trials": 1, "space": {"train.lr": {"low": 0, "high": 1, "log": True}}}}, "above 0 with log"),
        ({"search": {"trials": 1, "space": {"train.lr": [1]}}}, "needs two values or more"),
        ({"search": {"trials": 1, "spaces": {}}}, "search.spaces: unknown key; did you mean 'space'"),
    ],
)
def test_a_study_file_is_refused_with_the_key_and_the_remedy(given, message):
    with pytest.raises(UserError, match=re.escape(message) if "." not in message else message):
        _plan(**given)


def test_a_missing_study_file_is_named():
    with pytest.raises(UserError, match=r"There is no study file nowhere\.yaml"):
        plan.load("nowhere.yaml", ROOT / "params.yaml", PROJECT)


def test_a_measure_of_its_own_needs_a_direction(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("name: s\nmeasure: SAM_deg\n")
    with pytest.raises(UserError, match="say whether 'max' or 'min' of SAM_deg is best"):
        plan.load(file, ROOT / "params.yaml", PROJECT)
    assert _plan(measure="SAM_deg", direction="min").sign == -1
    assert _plan(measure="category.books.SSC").sign == 1
    assert (_plan().measure, _plan().sign) == ("SSC", 1)


def test_names_begin_with_the_project_where_others_are_in_the_repository(toy):
    found = Plan(validated(Study, {"name": "s", "folds": 2}, "s.yaml"), toy, {}, "toy-").experiments()
    assert [one.name for one in found] == ["toy-s-base-f0", "toy-s-base-f1"]
    assert found[1].values == {"split.folds": 2, "split.fold": 1}


def test_an_experiment_with_the_same_parameters_has_no_differences():
    found = _plan(variants={"a": {"train.lr": 0.5, "augment": {"crop_steps": {3: 32}}}})
    experiment = found.experiments()[0]
    assert found.differences(experiment, found.parameters(experiment).model_dump()) == []


def _changed(**given):
    """A study of one experiment, that experiment, and its parameters."""
    found = _plan(**given)
    experiment = found.experiments()[0]
    return found, experiment, found.parameters(experiment).model_dump()


def test_what_concerns_the_machine_or_another_model_makes_no_difference():
    wanted, experiment, found = _changed()
    found["machine"] |= {"workers": 7, "loader_workers": 3}
    found["models"] = {**found["models"], "raw2hsi": {"base_ch": 8}}
    assert wanted.differences(experiment, found) == []


def test_differences_name_the_key_and_both_values():
    wanted, experiment, found = _changed(base={"train.lr": 0.25})
    found["train"]["lr"] = 0.5
    found["models"] = {**found["models"], "mstpp": {"n_feat": 31}}
    assert wanted.differences(experiment, found) == [
        "models.mstpp.stage is not set, not 1",
        "train.lr is 0.5, not 0.25",
    ]


def test_parameters_that_are_not_valid_any_more_are_a_difference():
    wanted, experiment, _ = _changed()
    found = wanted.differences(experiment, {"train": {"gone": 1}})
    assert len(found) == 1
    assert "train.gone: unknown key" in found[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "resnet"}, r"params\.yaml has no block models\.resnet; it has mstpp"),
        ({"models": {"mstpp": {}, "mstp": {}}}, r"models\.mstp: there is no model of that name \(close: mstpp"),
        ({"model": "example", "models": {"example": {"wide": 3}}}, r"wide: unknown key; did you mean 'width'"),
        ({"model": "raw2hsi"}, r"'raw2hsi' cannot take the input of track 2"),
    ],
)
def test_what_no_training_could_be_made_of_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        PROJECT.check(validated(Params, RAW | given, "params.yaml"))


_KEYS = st.sampled_from(["a", "b", "lr"])
_NESTED = st.recursive(st.integers(), lambda part: st.dictionaries(_KEYS, part, min_size=1), max_leaves=6)


@given(st.dictionaries(_KEYS, _NESTED))
def test_flat_and_nested_are_inverse(values):
    assert plan.nested(flat(values)) == values


def test_all_experiments_start_from_the_studys_recipe(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = _plan(recipe="track1", base={"train.epochs": 2}, variants={"plain": None, "fast": {"train.lr": 0.01}})
    plain, fast = (found.parameters(one) for one in found.experiments())
    assert (plain.track, plain.model, plain.train.epochs) == (1, "mstpp", 2)
    assert (plain.train.lr, fast.train.lr) == (1e-3, 0.01)


def test_a_study_of_an_unknown_recipe_is_refused(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match="track1"):
        _expanded(recipe="trak1")
