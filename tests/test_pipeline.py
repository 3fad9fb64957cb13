"""The pipeline file, the parameters and the command lines agree with each other."""

import shlex
from pathlib import Path

import pytest
import typer

import hsdata.cli
import hsmodels.cli
from hsdata import paths
from hsdata.params import MODEL_SECTIONS, DataParams
from hsengine.base.params import Section, read_yaml
from hsmodels.params import Params, load_params

ROOT = Path(__file__).resolve().parents[1]
STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
# What concerns the machine or the watching of a run, not its result.
NO_RESULT = {
    "workers",
    "data.cache",
    "train.pictures",
    "train.track",
    "train.loader_workers",
    "train.state_minutes",
    "train.launch",
}


def _keys(schema: type[Section], prefix: str = "") -> set[str]:
    found = set()
    for name, field in schema.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        place = f"{prefix}{name}"
        if nested and place not in NO_RESULT:
            found |= _keys(field.annotation, f"{place}.")
        else:
            found.add(place)
    return found


def _read_by(stage: str) -> set[str]:
    return {key.replace(".${model}", "") for key in STAGES[stage].get("params", [])}


def test_the_committed_parameters_are_valid_and_complete():
    raw = read_yaml(ROOT / "params.yaml")
    load_params(ROOT / "params.yaml")

    def missing(schema: type[Section], given: dict, where: str = "") -> list[str]:
        absent = []
        for name, field in schema.model_fields.items():
            if name not in given:
                absent.append(f"{where}{name}")
            elif isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                absent += missing(field.annotation, given[name], f"{where}{name}.")
        return absent

    assert missing(Params, raw) == []


def test_every_parameter_that_decides_a_result_is_named_by_a_stage():
    named = set().union(*(_read_by(stage) for stage in STAGES))

    def covered(key: str) -> bool:
        parts = key.split(".")
        return any(".".join(parts[:length]) in named for length in range(1, len(parts) + 1))

    assert {key for key in _keys(Params) if not covered(key)} == NO_RESULT


def test_no_stage_names_a_parameter_that_does_not_exist():
    raw = read_yaml(ROOT / "params.yaml")
    for stage in STAGES:
        for key in _read_by(stage):
            value = raw
            for part in key.split("."):
                assert part in value, f"{stage} reads {key}"
                value = value[part]


def test_changing_what_concerns_the_machine_reruns_nothing():
    named = set().union(*(_read_by(stage) for stage in STAGES))
    assert not named & NO_RESULT
    assert "train" not in named


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_a_verb_of_its_command_line(stage):
    program, *words = shlex.split(STAGES[stage]["cmd"])
    group = typer.main.get_command({"hsdata": hsdata.cli.app, "hsmodels": hsmodels.cli.app}[program])
    for word in words:
        if word.startswith("-"):
            break
        group = group.commands[word]


def test_the_outputs_are_where_the_code_writes_them():
    outputs = {
        next(iter(out)) if isinstance(out, dict) else out
        for stage in STAGES.values()
        for kind in ("outs", "metrics", "plots")
        for out in stage.get(kind, [])
    }
    for place in (paths.CATALOG, paths.INDEX, paths.ZARR, paths.RENDERED, paths.MODEL, paths.METRICS, paths.SUBMISSION):
        assert str(place) in outputs


def test_the_sections_of_hsmodels_are_those_that_hsdata_leaves_alone():
    assert set(Params.model_fields) - set(DataParams.model_fields) == set(MODEL_SECTIONS)
