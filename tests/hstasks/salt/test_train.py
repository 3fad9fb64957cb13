import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_salt import divided, small

import hstasks
from hsengine.base import paths
from hsengine.base.errors import UserError
from hstasks import networks
from hstasks.images import split as splits
from hstasks.salt import catalog, mosaic, pseudo, split, train
from hstasks.salt.division import divided as division
from hstasks.salt.train import check, prepare, supervision
from hstasks.segmentation import Segmentation


class Killed(BaseException):
    """Stands for `kill -9`: nothing catches it."""


def _weights(folder="outputs/model"):
    """What a training makes, its model card among it."""
    files = [*Path(folder).glob("*.safetensors"), Path(folder, "README.md")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_trained_model_is_loaded_with_its_record(trained):
    model, record = hstasks.load("outputs/model")
    assert record["challenge"] == "salt"
    assert record["checkpoint"]["which"] == "best"
    output = model(torch.zeros(2, 1, 104, 104))
    assert output.logits.shape == (2, 1, 104, 104)
    assert not model.training
    card = Path("outputs/model/README.md").read_text()
    assert "pipeline_tag: image-segmentation" in card and "logits of salt" in card


def test_a_killed_training_goes_on_to_the_same_weights_to_the_bit(project, monkeypatch):
    params = small(train={"ema": 0.9})
    divided(params)
    train.run(params)
    expected = _weights()
    genuine, calls = Segmentation.losses, []

    def mortal(self, model, batch):
        calls.append(0)
        if len(calls) == 5:
            raise Killed
        return genuine(self, model, batch)

    monkeypatch.setattr(Segmentation, "losses", mortal)
    monkeypatch.setenv("HYPEROBJECT_STATE", str(project / "other"))
    with pytest.raises(Killed):
        train.run(params)
    train.run(params)
    assert len(calls) < 10, "it started afresh"
    assert _weights() == expected


def test_two_processes_train_to_the_same_score(project, monkeypatch):
    # Dropout is drawn by each process for its own share.
    options = {"width": 4, "depth": 3, "blocks": 1, "presence": True, "dropout": 0.0}
    params = small(model={"options": options}, train={"epochs": 1}, machine={"launch": {"processes": 2}})
    divided(params)
    alone = train.run(params.model_copy(update={"machine": small().machine})).config["checkpoints"]["last"]["measures"]
    sources = str(Path(__file__).resolve().parents[3])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([sources, os.environ.get("PYTHONPATH", "")]))
    command = "import sys; from hstasks.cli import main; sys.argv[1:] = ['train']; main()"
    (project / "params.yaml").write_text(json.dumps(params.model_dump(mode="json")))
    subprocess.run([sys.executable, "-c", command], check=True, capture_output=True)
    both = json.loads(Path("outputs/model/config.json").read_text())["checkpoints"]["last"]["measures"]
    for name in ("val/metric", "val/IoU", "val/loss"):
        assert both[name] == pytest.approx(alone[name], abs=1e-4)


def test_tiles_that_the_split_does_not_know_are_refused(project):
    divided(small())
    folds = pd.read_csv(splits.FOLDER / splits.FOLDS)
    decision = splits.load()
    missing = folds["id"][0]
    splits.write(splits.Decision("grouped", 0, 0, {k: v for k, v in decision.folds.items() if k != missing}))
    with pytest.raises(UserError, match=missing):
        prepare(small())


def test_a_split_of_tiles_that_are_gone_is_refused(project):
    divided(small())
    frame = catalog.load()
    gone = frame.loc[frame["split"] == "train", "id"].iloc[0]
    catalog.catalogs.save(frame[frame["id"] != gone], paths.CATALOG)
    with pytest.raises(UserError, match=gone):
        prepare(small())


def test_a_split_that_parts_a_mosaic_is_refused(project):
    divided(small())
    held = splits.load().held_out[0]
    frame = mosaic.load()
    other = splits.load().train[0]
    frame.loc[frame["id"].isin([held, other]), "group"] = "aa"
    frame.to_csv(mosaic.PATH, index=False)
    with pytest.raises(UserError, match="group aa"):
        prepare(small())


def test_a_pseudo_labelled_copy_of_a_held_out_tile_is_refused(project, monkeypatch):
    divided(small())
    _, held_out = division(small())
    copied = held_out[held_out["defects"] == ""].iloc[:1].assign(id="0123456789", split="pseudo")
    monkeypatch.setattr(pseudo, "rows", lambda: copied)
    with pytest.raises(UserError, match="content"):
        prepare(small())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"encoder": "resnet34", "network": "unet_small"}}, "model.encoder"),
        ({"model": {"weights": "pretrained"}}, "model.weights"),
        ({"model": {"network": "unet_smal"}}, "unet_small"),
        ({"model": {"options": {"widht": 8}}}, "width"),
        ({"loss": "lovas"}, "lovasz"),
        ({"model": {"network": "seed_unet", "options": {}}, "presence": 0.2}, "no such head"),
        ({"loss": {"bce": 0.0}}, "weight above 0"),
    ],
)
def test_parameters_that_no_training_can_be_made_of_are_named(changes, said):
    with pytest.raises(UserError, match=said):
        check(small(**changes))


def test_the_heads_that_have_a_weight_are_made():
    plain = {"options": {"width": 4}}
    assert train.network(small(model=plain, presence=0.1)).presence is not None
    assert len(train.network(small(model=plain, auxiliary=0.1)).sides) > 0
    assert train.network(small(model=plain, presence=0.0)).presence is None


def test_the_published_names_of_losses_are_known():
    for given in ("BCEDice", "Lovasz", "bce_dice", {"bce": 1.0, "lovasz_symmetric": 0.5}):
        assert supervision(small(loss=given))


@pytest.mark.parametrize("channels", ["grey", "as_is"])
def test_the_network_has_the_channels_that_the_input_has(project, channels):
    params = small(input={"channels": channels, "fit": {"pad": 104}})
    divided(params)
    work = prepare(params)
    item = work.task.training()[(0, 0, 0)]
    planes = 1 if channels == "grey" else 3
    assert item["image"].shape == (planes, 104, 104)
    assert work.record["model"]["in_channels"] == planes
    assert work.task.model()(item["image"][None]).logits.shape == (1, 1, 104, 104)


def test_tiles_of_one_channel_are_those_of_three(project):
    from PIL import Image

    from hstasks.salt.samples import image_of

    file = next(Path("data/train/images").glob("*.png"))
    three = image_of(file)
    Image.fromarray(np.asarray(Image.open(file))[..., 0]).save("one.png")
    np.testing.assert_array_equal(image_of("one.png"), three)


def test_the_data_hash_knows_who_is_held_out(project):
    divided(small())
    first = prepare(small()).data
    split.run(small(split={"fold": 1}))
    assert prepare(small(split={"fold": 1})).data != first


def test_the_encoder_has_its_own_rate():
    model = networks.build("unet_small", {"width": 4}, 1, 1)
    model.encoder = torch.nn.Linear(2, 2)
    task = Segmentation(lambda: model, None, None, None, train.SCORING, small().input, rate=0.1)
    rest, encoder = task.groups(model)
    assert encoder.scale == 0.1
    assert len(list(encoder.parameters)) == 2
    assert len(list(rest.parameters)) + 2 == len(list(model.parameters()))
