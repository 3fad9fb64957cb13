"""What users bring: networks by name, scenes that are damaged or of another kind, models of another split."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from hsengine.base.errors import UserError
from hstasks.images import geotiff, readers
from hstasks.landcover import aggregate, catalog, evaluate, predict, replicate, split, stages, submit, train
from hstasks.landcover import test as sealed
from hstasks.landcover.params import Params

from .conftest import parameters

TINY = {"encoder": "test_resnet", "weights": "random"}


@pytest.mark.parametrize(
    "model",
    [
        {"network": "unet", **TINY, "options": {"decoder_channels": [32, 16, 16, 8, 8]}},
        {"network": "unetformer", **TINY, "encoder_rate": 0.1, "options": {"decoder_channels": 16, "heads": 2}},
        {"network": "deeplabv3plus", **TINY, "options": {"decoder_channels": 16}},
        {"network": "segformer", **TINY, "options": {"decoder_channels": 16}},
    ],
    ids=lambda model: model["network"],
)
def test_each_network_learns_the_target(project, model):
    params = Params.model_validate(parameters().model_dump() | {"model": model})
    made = train.run(params)
    assert made.config["model"]["name"] == model["network"]
    evaluate.run(params)


def test_a_damaged_scene_is_named_and_no_map_is_left(project, tmp_path):
    scene = project / "data/target/scenes/vale.tif"
    (tmp_path / "in").mkdir()
    shutil.copy(scene, tmp_path / "in/a.tif")
    (tmp_path / "in/b.tif").write_bytes(scene.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"b\.tif"):
        predict.run(tmp_path / "in", tmp_path / "out", [stages.model(parameters())], window=64)
    assert not (tmp_path / "out").exists()


def test_a_scene_with_too_few_bands_is_named(project, tmp_path):
    scene = project / "data/target/scenes/vale.tif"
    geotiff.write(tmp_path / "grey.tif", readers.read(scene)[:1], geotiff.place(scene))
    with pytest.raises(UserError, match=r"grey\.tif has 1 bands"):
        predict.run(tmp_path / "grey.tif", tmp_path / "out", [stages.model(parameters())], window=64)


def test_whole_numbers_with_a_value_of_no_data_train_as_reflectance_does(project):
    for file in Path("data/target/images").glob("*.tif"):
        pixels = np.rint(readers.read(file) * 10000).astype(np.uint16)
        pixels[:, :4, :4] = 65535
        where = geotiff.place(file)
        with geotiff.writing(file, where, len(pixels), "uint16", nodata=65535) as made:
            made.write(pixels)
    params = parameters(data={"white": 3500, "bands": None})
    for stage in (catalog, split, replicate):
        stage.run(params)
    assert train.run(params).config["model"]["in_channels"] == 4
    evaluate.run(params)
    with pytest.raises(UserError, match=r"data\.white"):
        train.run(parameters(data={"white": None, "bands": None}))


def test_a_model_of_another_split_is_neither_scored_nor_mapped(project):
    split.run(parameters(split={"fold": 3}))
    for verb in (evaluate.run, submit.run, sealed.run):
        with pytest.raises(UserError, match="made with another split"):
            verb(parameters())
    split.run(parameters())
    with pytest.raises(UserError, match="a teacher is no student"):
        submit.run(parameters(stage="teacher"))


def test_checkpoints_of_one_name_are_ranked_apart(project):
    params = parameters()
    with pytest.raises(UserError, match="Nothing is evaluated"):
        aggregate.run(params)
    evaluate.run(params)
    shutil.copytree("outputs/stages/baseline", "outputs/stages/replication")
    evaluate.run(params, stage="replication")
    found = aggregate.run(params).table
    assert sorted(found["checkpoint"]) == ["baseline/best", "replication/best"]
