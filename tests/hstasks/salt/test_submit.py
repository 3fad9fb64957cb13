import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_salt import small

from hsengine.base.errors import UserError
from hstasks.salt import catalog, rle_decode, submit
from hstasks.salt.layout import TEST


def _read(file="outputs/submission/submission.csv"):
    return pd.read_csv(file, keep_default_na=False)


def test_the_submission_has_every_test_tile_in_the_competitions_order(trained):
    said = str(submit.run(small()))
    rows, wanted = _read(), _read("data/sample_submission.csv")
    assert list(rows.columns) == ["id", "rle_mask"]
    assert list(rows["id"]) == list(wanted["id"])
    assert "12 test tiles" in said
    for text in rows["rle_mask"]:
        assert rle_decode(text).shape == (101, 101)


def test_black_tiles_are_submitted_empty(trained):
    frame = catalog.load()
    black = frame.index[frame["split"] == TEST][0]
    Image.fromarray(np.zeros((101, 101), dtype=np.uint8)).save("black.png")
    frame.loc[black, "image"] = "black.png"
    catalog.catalogs.save(frame, "derived/catalog.csv")
    file = Path("outputs/evaluation/rules.json")
    rules = json.loads(file.read_text())
    # All other tiles are salt by these.
    rules["rules"] |= {"threshold": 0.001, "gate": 0.0, "least": 0, "full_to_empty": False}
    file.write_text(json.dumps(rules))
    submit.run(small())
    rows = _read().set_index("id")
    assert list(rows.index[rows["rle_mask"] == ""]) == [frame.loc[black, "id"]]


def test_the_record_says_which_training_and_which_rules(trained):
    submit.run(small())
    record = json.loads(Path("outputs/submission/record.json").read_text())
    assert record["training"] == [json.loads(Path("outputs/model/config.json").read_text())["training"]]
    assert record["rules"] == json.loads(Path("outputs/evaluation/rules.json").read_text())["rules"]


def test_without_an_evaluation_there_are_no_rules(trained):
    Path("outputs/evaluation/rules.json").unlink()
    with pytest.raises(UserError, match="hstasks evaluate"):
        submit.run(small())


def test_rules_of_another_training_are_refused(trained):
    file = Path("outputs/evaluation/rules.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"training": "other"}))
    with pytest.raises(UserError, match="another training"):
        submit.run(small())
    assert not Path("outputs/submission").exists()


def test_a_sample_submission_of_other_tiles_is_refused_before_anything_is_written(trained, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(Path("data").resolve(), copied)
    file = copied / "sample_submission.csv"
    file.write_text(file.read_text().replace(_read("data/sample_submission.csv")["id"][0], "0000000000"))
    with pytest.raises(UserError, match="0000000000"):
        submit.run(small(data={"root": str(copied)}))
    assert not Path("outputs/submission").exists()


def test_without_test_tiles_submission_ends_well(trained):
    frame = catalog.load()
    catalog.catalogs.save(frame[frame["split"] != TEST], "derived/catalog.csv")
    assert "nothing to submit" in str(submit.run(small()))
    assert not Path("outputs/submission/submission.csv").exists()


@pytest.mark.parametrize("fault", ["order", "missing", "mask"])
def test_a_submission_that_is_not_what_was_predicted_is_found(tmp_path, fault):
    masks = {name: np.zeros((4, 4), dtype=bool) for name in "abc"}
    masks["b"][1, 1:3] = True
    names = {"order": "bac", "missing": "ab", "mask": "abc"}[fault]
    written = masks | ({"b": ~masks["b"]} if fault == "mask" else {})
    submit.write(tmp_path / "s.csv", list(names), [written[name] for name in names])
    with pytest.raises(UserError, match=r"s\.csv"):
        submit.check(tmp_path / "s.csv", list("abc"), masks)
