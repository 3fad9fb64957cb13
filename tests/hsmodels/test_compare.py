"""The verb `compare`: what differs on the same held-out samples, and what cannot be compared."""

import json
from pathlib import Path

import numpy as np
import pytest

from hsdata import formats
from hsdata.cube import BAND_GRID, Cube
from hsdata.formats import hdf5
from hsengine.base.errors import UserError
from hsengine.report import comparison
from hsmodels import compare, testing
from hsmodels.params import Params
from hsmodels.testing import HELD_OUT, model_folder

PARAMS = Params.model_validate({"track": 2})
RAW = Path("data/track2/test-public/hsi_61")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project with two models, and cubes of two kinds."""
    monkeypatch.chdir(tmp_path)
    testing.project(2)
    for seed, name in enumerate("AB"):
        model_folder(Path(name), track=2, seed=seed)
        held_out(Path(name), HELD_OUT)
    for folder, noise in (("exact", 0.0), ("noisy", 0.05)):
        for id in HELD_OUT:
            cube = formats.open_cube(RAW / f"{id}.h5")
            values = np.clip(cube.values + noise * np.random.default_rng(0).random(cube.values.shape), 0, 1)
            hdf5.write(Path(folder, f"{id}.h5"), Cube(values.astype(np.float32), BAND_GRID, id))


def held_out(model, ids):
    file = model / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"held_out": list(ids)}))


def test_models_and_cubes_are_compared_sample_by_sample(here):
    done = compare.run(PARAMS, [Path("A"), Path("B"), Path("noisy"), Path("exact")])
    assert len(done.found) == 6 and done.notes == []
    record = json.loads((compare.FOLDER / comparison.RECORD).read_text())
    by_name = {one["name"]: one for one in record["results"]}
    assert set(by_name["A"]["samples"]) == set(HELD_OUT)
    assert by_name["exact"]["mean"] == pytest.approx(1.0, abs=1e-3)
    last = record["differences"][-1]
    assert (last["first"], last["second"]) == ("noisy", "exact")
    assert last["mean"] == pytest.approx(by_name["exact"]["mean"] - by_name["noisy"]["mean"])
    assert 0 < last["by_samples"][0] <= last["mean"] <= last["by_samples"][1]
    page = (compare.FOLDER / comparison.PAGE).read_text()
    assert all(id in page for id in HELD_OUT) and "error of noisy" in page and "http" not in done.__str__()
    # Again: it replaces what it wrote.
    assert compare.run(PARAMS, [Path("exact"), Path("noisy")]).found[0].mean == pytest.approx(-last["mean"])


def test_arrays_without_wavelengths_are_taken_as_the_challenge_has_them(here):
    for folder, suffix in (("npy", "npy"), ("npz", "npz")):
        Path(folder).mkdir()
        for id in HELD_OUT:
            values = np.moveaxis(formats.open_cube(RAW / f"{id}.h5").values, 0, 2)
            if suffix == "npy":
                np.save(f"npy/{id}.npy", values)
            else:
                np.savez(f"npz/{id}.npz", cube=values)
    done = compare.run(PARAMS, [Path("npy"), Path("npz"), Path("exact")])
    assert [one.mean for one in done.found] == pytest.approx([0.0] * 3)


def test_models_that_were_held_out_other_samples_are_refused_by_name(here):
    held_out(Path("B"), [*HELD_OUT[1:], "Category-1_a_0001"])
    with pytest.raises(UserError, match=f"and B differ: .* has {HELD_OUT[0]}; only B has Category-1_a_0001"):
        compare.run(PARAMS, [Path("A"), Path("B")])
    assert not compare.FOLDER.exists()


def test_a_record_that_does_not_say_who_was_held_out_is_noted(here):
    model_folder(Path("C"), track=2, seed=5)
    done = compare.run(PARAMS, [Path("A"), Path("C")])
    assert "the record of C does not say which samples it was held out" in str(done)
    assert "The record of C does not say" in (compare.FOLDER / comparison.PAGE).read_text()


def spoil(kind):
    first = Path("noisy", f"{HELD_OUT[0]}.h5")
    if kind == "missing":
        first.unlink()
    elif kind == "shape":
        hdf5.write(first, Cube(np.zeros((61, 8, 8), np.float32), BAND_GRID, "small"))
    elif kind == "wavelengths":
        hdf5.write(first, Cube(np.zeros((61, 16, 16), np.float32), BAND_GRID + 5.0, "shifted"))
    elif kind == "finite":
        np.save(first.with_suffix(".npy"), np.full((16, 16, 61), np.nan, np.float32))
        first.unlink()
    elif kind == "double":
        np.save(first.with_suffix(".npy"), np.zeros((16, 16, 61), np.float32))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing", f"no cube of the held-out samples {HELD_OUT[0]}"),
        ("shape", r"is of shape \(61, 8, 8\)"),
        ("wavelengths", "other wavelengths"),
        ("finite", "no finite numbers"),
        ("double", f"several cubes of {HELD_OUT[0]}"),
    ],
)
def test_cubes_that_cannot_be_scored_are_named(kind, told, here):
    spoil(kind)
    with pytest.raises(UserError, match=told):
        compare.run(PARAMS, [Path("exact"), Path("noisy")])
    assert not compare.FOLDER.exists()


def test_what_is_no_result_and_what_is_named_twice_is_refused(here):
    with pytest.raises(UserError, match="neither a trained model nor a folder of cubes"):
        compare.run(PARAMS, [Path("A"), Path("nowhere")])
    with pytest.raises(UserError, match="name each model once"):
        compare.run(PARAMS, [Path("exact"), Path("exact")])
    with pytest.raises(UserError, match="two models or more"):
        compare.run(PARAMS, [Path("exact")])
    model_folder(Path("other"), track=1)
    with pytest.raises(UserError, match="other is a model of track 1"):
        compare.run(PARAMS, [Path("exact"), Path("other")])


def test_a_folder_of_the_users_is_never_replaced(here):
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else than a comparison"):
        compare.run(PARAMS, [Path("exact"), Path("noisy")], folder=Path("mine"))
    assert Path("mine/notes.txt").read_text() == "mine"


def test_the_page_shows_differences_and_cubes(here, opened):
    compare.run(PARAMS, [Path("noisy"), Path("exact")])
    page = opened(compare.FOLDER / comparison.PAGE)
    page.wait_for_selector("canvas")
    page.wait_for_selector(".js-plotly-plot")
    text = page.inner_text("body")
    assert "exact - noisy" in text and "Samples that decide" in text
    assert "No sample speaks against the mean." in text
