import json

import pytest
import torch

import hsmodels
from hsdata import catalog as catalogs
from hsdata import paths
from hsengine.base.paths import state_folder
from hsmodels import choice, testing, train, zoo
from hsmodels.heldout import division
from hsmodels.params import Params


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A tiny project in the current folder: three training samples, each of a group of its own."""
    monkeypatch.chdir(tmp_path)
    testing.project(2)


def _params(residual="chosen"):
    raw = {
        "model": "example",
        "models": {"example": {"width": 4}},
        "train": {"epochs": 1, "batch_size": 2, "warmup_epochs": 0},
        "residual": residual,
        "stripes": False,
    }
    return Params.model_validate(raw)


def _scores(plain, other):
    return {"kernel_ridge": dict(enumerate(plain)), "kernel_sum": dict(enumerate(other))}


def test_another_closed_form_is_taken_where_it_is_told_to_be_better():
    made = choice.decided(_scores([0.2, 0.3, 0.1, 0.2], [0.25, 0.36, 0.14, 0.25]), [[0], [1], [2], [3]])
    assert made.name == "kernel_sum" and made.differences["kernel_sum"].mean == pytest.approx(0.05)


def test_a_better_mean_that_one_group_alone_makes_is_not_enough():
    made = choice.decided(_scores([0.2, 0.3, 0.1, 0.2], [0.2, 0.3, 0.1, 0.9]), [[0], [1], [2], [3]])
    assert made.name == "kernel_ridge" and "not told from 0" in str(made)


def test_many_samples_of_one_group_count_as_one():
    plain, other = [0.2] * 8, [0.3, 0.31, 0.32, 0.3, 0.31, 0.32, 0.19, 0.18]
    assert choice.decided(_scores(plain, other), [[place] for place in range(8)]).name == "kernel_sum"
    assert choice.decided(_scores(plain, other), [[0, 1, 2, 3, 4, 5], [6], [7]]).name == "kernel_ridge"


def test_one_that_is_told_to_be_worse_is_not_taken():
    made = choice.decided(_scores([0.3, 0.3, 0.3], [0.2, 0.21, 0.2]), [[0], [1], [2]])
    assert made.name == "kernel_ridge" and ", told from 0" in str(made)


def test_each_is_tried_on_samples_whose_group_it_has_not_seen_and_never_on_held_out_ones(project, monkeypatch):
    catalog = catalogs.load(paths.CATALOG)
    rows, held_out = division(catalog)
    rows["group"] = ["one", "one", "two"]
    more = rows.iloc[[2]].assign(id="Category-3_a_0000", group="three", cube_hash="another", input_hash="another")
    rows = catalogs.concatenated([rows, more])
    read, seen = [], []
    fit = zoo.fit

    def watched(params, rows):
        read.extend(rows["id"])
        # Which sample a cube is, for the model that is solved for.
        return [(torch.rand(3, 8, 8), torch.full((61, 16, 16), 0.1 * (place + 1))) for place in range(len(rows))]

    def fitted(model, batches):
        batches = list(batches)
        seen.append({round(10 * float(truth.mean())) - 1 for _, truth in batches})
        fit(model, batches)

    monkeypatch.setattr(choice, "_pairs", watched)
    monkeypatch.setattr(zoo, "fit", fitted)
    made = choice.choose(_params(), rows)
    assert made.groups == 3 and set(read) == set(rows["id"]) and not set(read) & set(held_out["id"])
    assert {frozenset(places) for places in seen} == {frozenset({2, 3}), frozenset({0, 1, 3}), frozenset({0, 1, 2})}


def test_a_choice_is_made_once_until_samples_or_parameters_differ(project, monkeypatch):
    rows = division(catalogs.load(paths.CATALOG))[0]
    first = choice.once(_params(), rows)
    choose = choice.choose
    monkeypatch.setattr(choice, "choose", None)
    assert choice.once(_params(), rows) == first
    asked = []
    monkeypatch.setattr(choice, "choose", lambda params, rows: asked.append(len(rows)) or choose(params, rows))
    choice.once(_params(), rows.iloc[:2])
    choice.once(_params().model_copy(update={"seed": 1}), rows)
    assert asked == [2, 3]


def test_a_spoiled_note_of_a_choice_is_made_again(project, monkeypatch):
    rows = division(catalogs.load(paths.CATALOG))[0]
    first = choice.once(_params(), rows)
    (note,) = (state_folder() / "choices").iterdir()
    for spoiled in ("", "[]", "{}", '{"name": "kernel_sum", "differences": 3}'):
        note.write_text(spoiled)
        assert choice.once(_params(), rows) == first
    assert choice.Choice.of(json.loads(note.read_text())) == first


def test_of_few_groups_the_plain_one_is_taken_untried(project, monkeypatch):
    rows = division(catalogs.load(paths.CATALOG))[0]
    rows["group"] = "the same"
    monkeypatch.setattr(zoo, "fit", None)
    made = choice.choose(_params(), rows)
    assert made.name == "kernel_ridge" and "tell nothing" in str(made)


def test_large_samples_are_tried_by_their_middle(project, monkeypatch):
    rows = division(catalogs.load(paths.CATALOG))[0]
    whole = choice._pairs(_params(), rows)
    monkeypatch.setattr(choice, "_SIDE", 8)
    for (input, truth), (all_of_input, all_of_truth) in zip(choice._pairs(_params(), rows), whole, strict=True):
        assert torch.equal(input, all_of_input[:, 2:6, 2:6])
        assert torch.equal(truth, all_of_truth[:, 4:12, 4:12])


def test_a_training_with_the_chosen_one_is_the_training_with_that_one(project):
    train.run(_params())
    _, record = hsmodels.load()
    name = record["model"]["residual"]
    assert name in choice.CANDIDATES and record["choice"]["name"] == name
    assert set(record["choice"]["scores"]) == set(choice.CANDIDATES)
    first = (paths.MODEL / "model.safetensors").read_bytes()
    train.run(_params(name))
    assert (paths.MODEL / "model.safetensors").read_bytes() == first


def test_a_model_that_is_not_trained_chooses_nothing(project, monkeypatch):
    monkeypatch.setattr(choice, "choose", None)
    train.run(Params.model_validate({"model": "ridge", "residual": "chosen"}))
    assert hsmodels.load()[1]["model"]["residual"] == "none"
