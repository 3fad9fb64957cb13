import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_lenses import APART, prepared, small

import hstasks
from hsengine.base.errors import UserError
from hstasks.lenses import preprocess, split, train
from hstasks.lenses import samples as seen
from hstasks.lenses.samples import Sample, Sight, sight_of


def _weights(folder="outputs/model"):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in Path(folder).glob("*.safetensors")}


def test_a_trained_model_is_loaded_with_what_it_sees(trained):
    model, record = hstasks.load("outputs/model")
    assert model(torch.zeros(3, 5, 41, 41)).shape == (3, 1)
    look = sight_of(record, "outputs/model")
    assert look.to_dict() == record["input"]
    assert look.together
    assert look.preprocess.kind == "ours"
    assert record["split"] == split.load().hash
    assert "val/auc" in record["checkpoints"]["best"]["measures"]


def test_the_same_training_gives_the_same_weights(trained):
    before = _weights()
    shutil.rmtree("outputs")
    train.run(small())
    assert _weights() == before
    shutil.rmtree("outputs")
    train.run(small(seed=1))
    assert _weights() != before


def test_each_band_can_be_a_sample(trained):
    task = train.prepare(small(**APART)).task
    ids = task.training().ids
    assert all(name[-2:] in ("_g", "_i") for name in ids)
    assert len(ids) == 2 * len(split.load().ids("train"))
    item = task.training()[0, 0, 0]
    assert item["image"].shape == (1, 41, 41)


def test_a_split_of_files_serves_models_of_one_band_only(trained):
    split.run(small(split={"strategy": "published"}))
    with pytest.raises(UserError, match="grouped"):
        train.prepare(small())
    assert train.prepare(small(**APART)).task.training().ids


def test_the_test_part_is_not_looked_at(trained):
    task = train.prepare(small()).task
    assert not set(split.load().ids("test")) & {*task.training().ids, *task.held_out().ids}


def test_less_of_one_domain_is_learned_from(trained):
    whole = train.prepare(small()).task.training().ids
    less = train.prepare(small(take={"hsc": 0.5})).task.training().ids
    assert set(less) < set(whole)
    assert {name for name in whole if name.startswith("D1")} <= set(less)


def test_nothing_left_to_learn_from_is_said(trained):
    with pytest.raises(UserError, match="not of both classes"):
        train.prepare(small(take={"hsc": 0.0, "slsim": 0.0}))


def test_a_network_that_gives_no_classes_is_refused():
    with pytest.raises(UserError, match="unet"):
        train.check(small(model="unet"))
    with pytest.raises(UserError, match="width"):
        train.check(small(models={"cnn_small": {"width": 3}}))


def test_training_data_decide_the_hash(trained):
    first = train.prepare(small())
    assert train.prepare(small()).data == first.data
    assert train.prepare(small(take={"hsc": 0.5})).data != first.data


def test_a_view_of_one_band_is_that_plane_of_all():
    image = np.random.default_rng(0).standard_normal((5, 41, 41)).astype(np.float32)
    how = preprocess.OurPreprocess("gri", (1.0, 2.0, 3.0))
    alone, together = Sight("gri", False, how), Sight("gri", True, how)
    whole = together.prediction(image, Sample("a", ""))
    assert whole.shape == (3, 41, 41)
    assert np.array_equal(alone.prediction(image, Sample("a", "r"))[0], whole[1])
    assert alone.samples("a", "gz") == [Sample("a", "g")]
    assert together.samples("a", "zy") == []


def test_bands_out_of_order_are_refused():
    with pytest.raises(ValueError, match="order"):
        small(input={"bands": "rg"})


def test_the_released_cutouts_go_through_all_stages(shared, tmp_path, monkeypatch):
    from hstasks.lenses import evaluate, submit

    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(shared / "data" / "lens-mini")
    params = prepared(small())
    train.run(params)
    evaluate.run(params)
    made = submit.run(params)
    assert made.handed_in.rows == 24
    assert json.loads(Path("outputs/metrics.json").read_text())["objects"] > 0


def test_samples_of_a_part_are_those_that_can_be_read(trained):
    from hstasks.lenses import catalog

    frame = catalog.labelled(catalog.load())
    decision = split.load()
    first = decision.ids("train")[0]
    frame.loc[frame["id"] == first, "bands"] = "z"
    names = [sample.id for sample in seen.parts(decision, frame, small(input={"bands": "gri"}).input, "train")]
    assert first not in names
    assert len(names) == len(decision.ids("train")) - 1
