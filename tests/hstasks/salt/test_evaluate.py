import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_salt import divided, small

from hsengine.base.errors import UserError
from hstasks.images import readers
from hstasks.salt import catalog, evaluate, iou, mosaic, score, split
from hstasks.salt.drawing import chosen
from hstasks.salt.neighbours import below_known, follows


def _metrics():
    return json.loads(Path("outputs/metrics.json").read_text())


def test_the_metrics_are_the_means_of_the_tiles(trained):
    rows, metrics = pd.read_csv("outputs/evaluation/tiles.csv"), _metrics()
    for name in ("metric", "IoU", "plain_metric", "plain_IoU"):
        assert metrics[name] == pytest.approx(rows[name].mean())
    assert metrics["tiles"] == len(rows) > 5
    assert metrics["run"]["same_division"] is True


def test_the_plain_measures_are_those_of_the_written_probabilities_at_half(trained):
    written = np.load("outputs/evaluation/out_of_fold.npz")
    rows = pd.read_csv("outputs/evaluation/tiles.csv").set_index("id")
    for name, levels in zip(written["ids"], written["probabilities"], strict=True):
        truth = readers.read_mask(f"data/train/masks/{name}.png")
        if np.abs(levels - 0.5).min() > 1e-3:
            assert rows.loc[name, "plain_metric"] == score(truth, levels > 0.5)
            assert rows.loc[name, "plain_IoU"] == pytest.approx(iou(truth, levels > 0.5))


def test_an_all_empty_mask_is_scored_beside(trained):
    rows = catalog.load().set_index("id").loc[pd.read_csv("outputs/evaluation/tiles.csv")["id"]]
    assert _metrics()["baseline"]["all_empty"]["metric"] == pytest.approx((rows["salt_pixels"] == 0).mean())


def test_each_rule_is_measured(trained):
    rules = pd.read_csv("outputs/evaluation/rules.csv").set_index("rules")
    assert rules.loc["all rules", "metric"] == pytest.approx(_metrics()["metric"])
    assert rules.loc["none", "metric"] == pytest.approx(_metrics()["plain_metric"])
    assert "with the tiles above" in rules.index


def test_scored_tiles_are_drawn(trained):
    with Image.open("outputs/evaluation/tiles.png") as picture:
        assert picture.width > 300


def test_pictures_go_from_the_worst_tile_to_the_best():
    assert chosen([0.5, 0.1, 0.9, 0.3], 2) == [1, 2]
    assert chosen([0.5], 6) == [0]


def test_a_model_of_another_fold_is_told_to_have_seen_the_tiles(trained):
    params = small(split={"fold": 1}, evaluate={"pictures": 0})
    split.run(params)
    assert "WARNING" in str(evaluate.run(params))


def test_without_a_model_evaluation_says_what_to_do(project):
    divided(small())
    with pytest.raises(UserError, match="no trained model"):
        evaluate.run(small())


def test_the_last_row_goes_on_below_a_vertical_tile_and_ends_below_a_cap():
    above = np.zeros((4, 4), dtype=bool)
    above[-1, 1:3] = True
    np.testing.assert_array_equal(follows(above), np.repeat(above[-1:], 4, axis=0))
    assert not follows(np.ones((4, 4), dtype=bool)).any()


def test_only_labelled_tiles_above_that_tell_something_are_asked(trained):
    frame, places = catalog.load(), mosaic.load()
    telling = frame[frame["defects"].str.contains("cap|vertical")]["id"]
    below = places["id"].iloc[0]
    places["above"] = ""
    places.loc[places["id"] == below, "above"] = telling.iloc[0]
    other = places["id"].iloc[1]
    plain = frame[(frame["split"] == "train") & (frame["defects"] == "")]["id"].iloc[0]
    places.loc[places["id"] == other, "above"] = plain
    places.to_csv(mosaic.PATH, index=False)
    known = below_known()
    assert list(known) == [below]
    assert known[below].shape == (101, 101)
