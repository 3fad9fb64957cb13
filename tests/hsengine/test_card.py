"""The model card: complete, the same for equal records, readable by hubs, and never written over another's."""

import json
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hsengine import folder, stage
from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.card import About, card

sys.path.insert(0, str(Path(__file__).parent))

from toy_project import PROJECT, Params

ABOUT = About(
    summary="From points to sides.",
    data="Points, two classes",
    task="other",
    tags=["points"],
    limits=["Points have two sides."],
    load='load("FOLDER")',
)
RECORD = {
    "title": "line over plane",
    "model": {"name": "line", "params": {}},
    "watch": "val/accuracy",
    "epochs": 5,
    "ended_by": "epochs",
    "checkpoints": {
        "best": {
            "file": "model.safetensors",
            "epoch": 3,
            "mean_of_epochs": [2, 3],
            "measures": {
                "train/loss": 0.5,
                "val/accuracy": 0.75,
                "val/loss": 0.25,
                "val/by_side/left|top/accuracy": 1.0,
                "val/by_side/right/accuracy": 0.5,
                "val/by_side/right/loss": None,
            },
        },
        "last": {"file": "last.safetensors", "epoch": 4, "moving_average": True, "measures": {"val/accuracy": None}},
    },
    "data": {"hash": "abc", "training": 9, "held_out": 4},
    "code": "def",
    "git_revision": "123",
    "git_dirty": True,
    "python": "3.11",
    "packages": {"torch": "2"},
}


def front(text):
    _, block, rest = text.split("---\n", 2)
    return YAML(typ="safe").load(block), rest


def test_hubs_read_the_block_at_the_top():
    found, _ = front(card(ABOUT, RECORD))
    assert found["library_name"] == "hyperobject-toolkit" and found["license"] == "mit"
    assert found["tags"] == ["points", "line"] and found["metrics"] == ["accuracy"]
    (index,) = found["model-index"]
    (result,) = index["results"]
    assert index["name"] == "line over plane"
    assert result["dataset"] == {"type": "points-two-classes", "name": "Points, two classes", "args": {"hash": "abc"}}
    assert {one["type"]: one["value"] for one in result["metrics"]} == {"accuracy": 0.75, "loss": 0.25}


def test_the_text_says_scores_by_group_data_limits_and_how_to_load():
    _, text = front(card(ABOUT, RECORD))
    for part in (
        "| `model.safetensors` | best | 3 | mean of 2 epochs | 0.7500 |",
        "| `last.safetensors` | last | 4 | moving average |  |",
        "| side | accuracy |",
        "| left\\|top | 1.0000 |",
        "9 samples, with 4 others held out; hash of both: `abc`",
        "Git revision `123` with changes that were not committed",
        "- Points have two sides.",
        'load("FOLDER")',
    ):
        assert part in text


def test_what_was_imported_has_no_score_and_no_licence_of_ours():
    found, text = front(card(ABOUT, {"model": {"name": "line"}, "checkpoints": {"best": {"file": "m"}}}))
    assert found["license"] == "unknown" and "model-index" not in found
    assert "## Score" not in text and "## Training" not in text and "## Load" in text


def test_a_training_writes_the_same_card_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = Params.model_validate({"train": {"epochs": 2}})
    texts = []
    for _ in range(2):
        config = stage.train(PROJECT, params, command=["toy", "train"]).config
        assert config == json.loads((paths.MODEL / "config.json").read_text())
        texts.append((paths.MODEL / "README.md").read_bytes())
    assert texts[0] == texts[1] and b"# a line\n" in texts[0]


@pytest.mark.parametrize("kind", ["changed", "theirs", "beside a model without one", "folder"])
def test_a_readme_that_was_not_written_with_the_model_is_never_replaced(kind, tmp_path):
    place = tmp_path / "model"
    config = {"model": {"name": "line"}}
    folder.save(place, {}, config, None if kind.startswith("beside") else "ours\n")
    folder.check_place(place)
    file = place / "README.md"
    if kind == "folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_text("mine" if kind != "changed" else "ours, and a word of mine\n")
    with pytest.raises(UserError, match=r"README\.md is not the one that was written with this model"):
        folder.save(place, {}, config, "ours\n")
    assert file.is_dir() or "mine" in file.read_text()


def test_the_hubs_own_package_reads_it(tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="the package huggingface_hub is not installed")
    file = tmp_path / "README.md"
    file.write_text(card(ABOUT, RECORD))
    data = hub.ModelCard.load(file).data
    assert data.model_name == "line over plane"
    assert {one.metric_type: one.metric_value for one in data.eval_results} == {"accuracy": 0.75, "loss": 0.25}
