import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hsengine.base.errors import UserError
from hstasks.images import readers
from hstasks.salt import rle_encode
from hstasks.salt.predict import run

MODEL = [Path("outputs/model")]


@pytest.fixture
def tiles(trained) -> Path:
    folder = trained / "tiles"
    folder.mkdir()
    for file in sorted(Path("data/test/images").glob("*.png"))[:3]:
        shutil.copy(file, folder)
    return folder


def test_a_folder_of_tiles_is_predicted(tiles):
    assert "3 masks" in str(run(tiles, Path("out"), MODEL))
    rows = pd.read_csv("out/submission.csv", keep_default_na=False).set_index("id")
    for file in tiles.iterdir():
        mask = readers.read_mask(f"out/masks/{file.name}")
        assert mask.shape == readers.read(f"out/probabilities/{file.name}").shape[1:] == (101, 101)
        assert rows.loc[file.stem, "rle_mask"] == rle_encode(mask)


def test_the_rules_that_evaluation_fitted_are_used_where_they_stand_beside(tiles):
    file = Path("outputs/evaluation/rules.json")
    written = json.loads(file.read_text())
    written["rules"] |= {"threshold": 0.001, "gate": 0.0, "least": 0, "full_to_empty": False, "black_to_empty": False}
    file.write_text(json.dumps(written))
    run(tiles, Path("low"), MODEL)
    shares = [readers.read_mask(mask).mean() for mask in Path("low/masks").iterdir()]
    assert min(shares) > 0.9


def test_an_ensemble_of_a_model_with_itself_is_the_model(tiles):
    run(tiles, Path("one"), MODEL)
    run(tiles, Path("two"), MODEL * 2)
    for file in Path("one/probabilities").iterdir():
        first, second = readers.read(file), readers.read(f"two/probabilities/{file.name}")
        assert np.abs(first.astype(int) - second).max() <= 1


def test_the_weights_are_those_that_the_models_own_parameters_predict_by(tiles):
    file = MODEL[0] / "config.json"
    config = json.loads(file.read_text())
    config["params"]["predict"]["checkpoint"] = "last"
    file.write_text(json.dumps(config))
    (MODEL[0] / "model.safetensors").unlink()
    run(tiles, Path("out"), MODEL)
    with pytest.raises(UserError, match="no checkpoint 'best'"):
        run(tiles, Path("other"), MODEL, checkpoint="best")


def test_tiles_of_other_sizes_go_with_the_others(tiles):
    Image.fromarray(np.full((60, 80), 90, dtype=np.uint8)).save(tiles / "small.png")
    run(tiles, Path("out"), MODEL)
    assert readers.read_mask("out/masks/small.png").shape == (60, 80)


def test_one_image_is_enough(tiles):
    assert "1 masks" in str(run(next(tiles.iterdir()), Path("out"), MODEL))


@pytest.mark.parametrize("fault", ["absent", "empty", "truncated", "large", "coloured", "twins"])
def test_bad_input_is_named_and_nothing_is_half_written(tiles, fault):
    source, named = tiles, "bad"
    if fault == "absent":
        source, named = Path("nowhere"), "nowhere"
    elif fault == "empty":
        source, named = Path("void"), "void"
        source.mkdir()
    elif fault == "truncated":
        (tiles / "bad.png").write_bytes(next(tiles.iterdir()).read_bytes()[:200])
    elif fault == "large":
        Image.fromarray(np.zeros((200, 200), dtype=np.uint8)).save(tiles / "bad.png")
    elif fault == "coloured":
        pixels = np.random.default_rng(0).integers(0, 255, (101, 101, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tiles / "bad.png")
    else:
        for suffix in (".png", ".jpg"):
            Image.fromarray(np.zeros((101, 101), dtype=np.uint8)).save(tiles / f"bad{suffix}")
    with pytest.raises(UserError, match=named):
        run(source, Path("out"), MODEL)
    assert not Path("out").exists()


def test_other_files_are_not_replaced(tiles):
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    with pytest.raises(UserError, match="out"):
        run(tiles, Path("out"), MODEL)
    assert Path("out/mine.txt").read_text() == "mine"


def test_a_folder_that_is_no_model_is_named(tiles):
    with pytest.raises(UserError, match="tiles"):
        run(tiles, Path("out"), [tiles])
