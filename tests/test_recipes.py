"""Every recipe of the project, those to come included, trains and scores."""

import contextlib
import copy
import hashlib
import json
import math
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from hsdata import catalog, convert, index, layout, paths, render, smote
from hsdata.testing import data_folder, numbered
from hsengine import folder
from hsengine.base.params import read_yaml
from hsengine.study import recipe
from hsmodels import evaluate, train, zoo
from hsmodels.params import load_params
from hsmodels.project import PROJECT

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "recipes"
NAMES = recipe.names(FOLDER)
VALUES = {name: recipe.read(PROJECT, name, FOLDER).values for name in NAMES}
COMMITTED = read_yaml(ROOT / "params.yaml")
SIZE = 16
# How a run is watched and where, not what a recipe is.
FREE = ("workers", "data", "evaluate")


def _given(values):
    """The block of the model that a recipe or params.yaml names."""
    return values["models"].get(values["model"], {})


class Runs:
    """Each recipe, run once in a project of its own."""

    def __init__(self, place):
        self.place = place
        self.done = {}

    def __call__(self, name):
        if name not in self.done:
            first = _given(VALUES[name]).get("pretrained")
            weights = self(first)["folder"] / paths.MODEL if first else None
            folder = self.place / name
            folder.mkdir()
            with contextlib.chdir(folder):
                self.done[name] = _run(name, weights) | {"folder": folder}
        return self.done[name]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPEROBJECT_STATE", str(tmp_path_factory.mktemp("state")))
        yield Runs(tmp_path_factory.mktemp("recipes"))


def _run(name, weights):
    """Apply a recipe to the committed params.yaml, make its data, train two updates, score."""
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    recipe.apply(PROJECT, name, "params.yaml", FOLDER)
    values = read_yaml("params.yaml")
    samples = _data(values)
    recipe.set_values(PROJECT, _small(values, samples, weights), "params.yaml", "the test")
    params = load_params("params.yaml")
    for stage in (catalog.run, index.run, convert.run, render.run, smote.run_plan, smote.run):
        stage(params)
    with _watched() as seen:
        train.run(params)
    evaluate.run(params)
    return {"params": params, "seen": seen, "metrics": json.loads(paths.METRICS.read_text())}


def _data(values):
    """Write the raw samples; how many of them there are to train on."""
    index, train_ids, held = values["index"], numbered(1, 2), numbered(1, 1, 500)
    ids = {"train": train_ids, "test-public": held}
    if index["strategy"] == "file":
        held = (ROOT / index["path"]).read_text().split()
        target = Path(index["path"])
        target.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / index["path"], target)
        ids = {"train": train_ids + held}
    elif index["strategy"] != "public":
        ids = {"train": [*numbered(1, 3), *numbered(2, 3), *numbered(3, 3), *numbered(4, 3)]}
    synthetic = 0
    if values["smote"]["balance"] != "none":
        # A third sample of the first category calls for a mixed one of the second.
        ids["train"] = [*numbered(1, 3, 600), *numbered(2, 2, 600), *ids["train"][len(train_ids) :]]
        synthetic = 1
    data_folder("data", ids, size=SIZE)
    return sum(len(names) for names in ids.values()) + synthetic - len(held)


def _small(values, samples, weights):
    """What a CPU needs: two updates, crops that the frames hold."""
    frame = SIZE // layout.SCALE[values["track"]]
    batches = math.ceil(samples / values["train"]["batch_size"])
    updates = math.ceil(batches / values["train"]["accumulate"])
    crops = {"crop": values["augment"]["crop"], **values["augment"]["crop_steps"]}
    crops = {key: crop and min(crop, frame) for key, crop in crops.items()}
    small = {
        "machine": {"workers": 1},
        "augment": {"crop": crops.pop("crop"), "crop_steps": crops},
        "train": {"epochs": math.ceil(2 / updates), "compile": False},
        "evaluate": {"pictures": 0, "baselines": False},
    }
    if weights is not None:
        small["models"] = {values["model"]: {"pretrained": str(weights)}}
    return small


@contextlib.contextmanager
def _watched():
    """Count the updates, and keep the trained weights as they were before the first and after the last."""
    seen = {"updates": 0}

    def held(optimizer):
        return [value.detach().clone() for group in optimizer.param_groups for value in group["params"]]

    def before(optimizer, *_):
        seen.setdefault("before", held(optimizer))

    def after(optimizer, *_):
        seen["updates"] += 1
        seen["after"] = held(optimizer)

    hooks = [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_two_steps_and_scores(runs, name):
    done = runs(name)
    assert done["seen"]["updates"] == 2
    changed = [not torch.equal(*pair) for pair in zip(done["seen"]["before"], done["seen"]["after"], strict=True)]
    assert sum(changed) > len(changed) / 2
    assert all(value.isfinite().all() for value in done["seen"]["after"])
    cubes = zoo.target_of(done["params"].model) == layout.CUBES
    assert done["metrics"]["run"]["leading"] == ("SSC" if cubes else "PSNR_dB")
    assert math.isfinite(done["metrics"]["SSC" if cubes else "PSNR_dB"])


@pytest.mark.parametrize("name", [name for name in NAMES if "pretrained" in _given(VALUES[name])])
def test_the_second_of_two_experiments_builds_on_the_first(runs, name):
    second = runs(name)
    given = _given(VALUES[name])
    weights = [
        safetensors.torch.load_file(runs(run)["folder"] / paths.MODEL / "model.safetensors")
        for run in (given["pretrained"], name)
    ]
    assert given["frozen"]
    start = (runs(given["pretrained"])["folder"] / paths.MODEL / "model.safetensors").read_bytes()
    named = folder.record(second["folder"] / paths.MODEL)["files"]["pretrained"]
    assert named == hashlib.blake2b(start, digest_size=16).hexdigest()
    assert all(torch.equal(weights[1][f"0.{key}"], value) for key, value in weights[0].items())
    assert second["params"].models[second["params"].model]["n_blocks"] == given["n_blocks"]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_is_for_and_is_meant_for_the_track_of_its_name(name):
    found = recipe.read(PROJECT, name, FOLDER)
    assert found.purpose
    assert found.name.startswith(f"track{found.values['track']}")
    assert found.values["model"] in zoo.names(found.values["track"])


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_means_the_same_whichever_was_applied_before(name):
    clean = _applied([name])
    for other in NAMES:
        found = _applied([other, name])
        left = {key: value for key, value in found.items() if clean.get(key) != value}
        assert not left, f"{other} leaves these behind: set them in {name} too"


def _applied(names):
    """What decides a run after applying recipes in this order, as section.key."""
    values = copy.deepcopy(COMMITTED)
    for name in names:
        recipe.merge(values, copy.deepcopy(VALUES[name]), PROJECT.schema.tables)
    values["models"] = _given(values)
    if values["index"]["strategy"] == "public":
        values["index"] = {"strategy": "public"}
    if values["smote"]["balance"] == "none":
        values["smote"] = {"balance": "none"}
    if values["loss"]["ssc"] == 0:
        values["loss"] = {key: value for key, value in values["loss"].items() if not key.startswith("ssc_")}
    sections = {key: part if isinstance(part, dict) else {"": part} for key, part in values.items() if key not in FREE}
    return {f"{section}.{key}": value for section, part in sections.items() for key, value in part.items()}


def test_every_model_that_a_track_can_take_has_a_block_in_the_parameters():
    blocks = COMMITTED["models"]
    assert set(zoo.names(1)) | set(zoo.names(2)) <= set(blocks)
    for track in (1, 2):
        for name in zoo.names(track):
            with torch.device("meta"):
                zoo.for_track(name, track, blocks[name], trained=True)
