"""Other people's captures from import to score."""

import json

import numpy as np
import pytest

from hsdata import Cube, catalog, convert, index, paths, smote
from hsdata.captures import importer
from hsdata.formats import envi
from hsmodels import evaluate, train
from hsmodels.params import Params


def scored(captures, track, tile):
    """SSC of a ridge regression on captures that are imported, divided, synthesised from and trained on."""
    for category, capture in enumerate(captures, start=1):
        importer.import_cubes([capture], "data", importer.Options(category=category, tile=tile, tracks=(1, 2)))
    params = Params.model_validate(
        {
            "track": track,
            "model": "ridge",
            "models": {"ridge": {}},
            "index": {"strategy": "stratified"},
            "convert": {"chunk": 8},
            "smote": {"balance": 0.2},
        }
    )
    for run in (catalog.run, index.run, convert.run, smote.run_plan, smote.run, train.run, evaluate.run):
        run(params)
    return json.loads(paths.METRICS.read_text())


@pytest.mark.parametrize("track", [1, 2])
def test_captures_of_any_sensor_are_trained_on_and_scored(tmp_path, monkeypatch, track):
    monkeypatch.chdir(tmp_path)
    centres = np.linspace(380.0, 1020.0, 90)
    captures = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        shade = rng.uniform(0.2, 0.9, (1, 24, 48)) * np.linspace(0.4, 1.0, 90)[:, None, None]
        name = f"scene-{seed}.hdr"
        captures += envi.write(name, Cube(shade.astype(np.float32), centres), interleave="bip")[:1]
    # Two captures of the first category, so that one of them can be held out.
    importer.import_cubes(captures[2:], "data", importer.Options(category=1, tile=24))
    metrics = scored(captures[:2], track, 24)
    assert 0.0 < metrics["SSC"] <= 1.0


def test_the_real_captures_are_trained_on_and_scored(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sensors = shared / "data/sensors"
    metrics = scored([sensors / "aviris", sensors / "muufl", sensors / "corn"], 2, 24)
    assert 0.0 < metrics["SSC"] <= 1.0
