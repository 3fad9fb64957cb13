import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import types
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from hsdata import catalog, facts, index, smote
from hsdata.camera.camera import Camera
from hsdata.formats import hdf5, image, mosaic, zarr
from hsdata.mixing import mixing, pairs
from hsdata.params import DataParams, Index
from hsdata.testing import data_folder, numbered, smooth_cube
from hsengine.base.errors import UserError
from hsengine.base.params import validated

IDS = {
    "train": [*numbered(1, 4), *numbered(2, 2)],
    "test-public": [*numbered(1, 1, 5), *numbered(2, 1, 5)],
    "test-private": numbered(1, 1, 7),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data folder of both tracks and a plan of two training samples."""
    folder = tmp_path_factory.mktemp("project")
    data_folder(folder / "data", IDS, size=16)
    return folder


@pytest.fixture
def project(place, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(place / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def catalogs(place):
    """The catalog of each track, made once."""
    with contextlib.chdir(place):
        return {track: catalog.make("data", track) for track in (1, 2)}


@pytest.fixture
def originals(project, catalogs):
    return catalogs[2]


@pytest.fixture
def plan(originals):
    """Class 2 has two samples, which make one pair; a hand-made row of class 1 follows it."""
    rows = pairs.planned(originals, IDS["train"], balance="max").plan
    extra = {"split": "train", "label": 1, "id1": "Category-1_a_0002", "id2": "Category-1_a_0000"}
    return pd.concat([rows, pd.DataFrame([extra | {"synthetic_id": "mixed", "lam": 0.25}])], ignore_index=True)


def tree(folder):
    """Hash of every file by path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def expected(originals, row):
    cubes = originals.set_index("id")["cube"]
    first, second = hdf5.read(cubes[row.id1]).values, hdf5.read(cubes[row.id2]).values
    return first + np.float32(row.lam) * (second - first)


def test_a_sample_is_the_mixture_of_its_sources_and_its_picture_that_of_the_mixture(originals, plan):
    summary = smote.generate(plan, originals, "out")
    assert len(plan) == 2 and len(summary.made) == 2
    assert "mixed from Category-1_a_0002 and Category-1_a_0000, lam 0.2500" in str(summary)
    made = smote.load("out")
    assert list(made["id"]) == sorted(plan["synthetic_id"])
    for row in made.itertuples(index=False):
        stored = zarr.read(row.cube)
        np.testing.assert_array_equal(stored.values, expected(originals, row))
        assert row.cube_hash == facts.content_hash(stored.values)
        picture = image.read(row.input)
        np.testing.assert_allclose(picture, Camera().rgb_2(stored), atol=0.5 / 255 + 1e-6)
        assert row.input_hash == facts.content_hash(picture)
        np.testing.assert_array_equal(
            image.quantised(image.read(row.rgb_full)), image.quantised(Camera().rgb_full(stored))
        )
        assert (row.synthetic, row.track, row.height, row.width, row.bands) == (True, 2, 16, 16, 61)
    assert set(made["category"]) == {1, 2} and set(made["category_name"]) == {"Category-1", "Category-2"}
    assert Path("out/train/hsi_61_zarr/mixed.zarr").is_dir() and Path("out/train/rgb_2/mixed.png").is_file()


def test_mosaics_are_made_on_the_other_track(project, catalogs, plan):
    smote.generate(plan, catalogs[1], "out", track=1)
    row = smote.load("out").set_index("id").loc["mixed"]
    assert row["input"] == "out/train/mosaic/mixed.npy"
    np.testing.assert_array_equal(mosaic.read(row["input"]), Camera().mosaic(zarr.read(row["cube"])))


def test_the_files_are_the_same_with_any_number_of_workers_and_on_every_run(originals, plan):
    smote.generate(plan, originals, "one", workers=1, preview=1)
    smote.generate(plan, originals, "two", workers=2, preview=1)
    one, two = tree("one"), tree("two")
    # Each catalog names its own folder.
    assert one.pop("catalog.csv") != two.pop("catalog.csv")
    assert one == two
    before = tree("one")
    assert smote.generate(plan, originals, "one", full=True, preview=1).kept == 0
    assert tree("one") == before


def test_a_cluster_makes_the_same_files(originals, plan, cluster):
    everything = {"preview": 2, "full": True}
    smote.generate(plan, originals, "out", workers=1, **everything)
    before = tree("out")
    assert len(smote.generate(plan, originals, "out", scheduler=cluster, **everything).made) == 2
    assert tree("out") == before


def test_only_what_changed_is_made_again(originals, plan):
    assert len(smote.generate(plan, originals, "out").made) == 2
    assert smote.generate(plan, originals, "out").kept == 2
    changed = plan.assign(lam=[plan["lam"][0], 0.75])
    [made] = smote.generate(changed, originals, "out").made
    assert made.startswith("mixed from")
    fewer = smote.generate(changed.head(1), originals, "out")
    assert fewer.removed == ["train/mixed"] and fewer.kept == 1
    assert not Path("out/train/rgb_2/mixed.png").exists() and len(smote.load("out")) == 1
    other = originals.assign(cube_hash=originals["cube_hash"].where(originals["id"] != "Category-2_a_0001", "new"))
    assert len(smote.generate(changed, other, "out").made) == 2


def test_a_damaged_sample_is_made_again(originals, plan):
    smote.generate(plan, originals, "out")
    before = tree("out")
    Path("out/train/rgb_2/mixed.png").unlink()
    assert len(smote.generate(plan, originals, "out").made) == 1
    assert tree("out") == before


@pytest.mark.parametrize("name", ["mixed.png", "c.0.0.0", "catalog.csv"])
def test_what_could_not_be_written_is_written_by_the_next_run(originals, plan, unwritable, name):
    smote.generate(plan, originals, "out")
    undisturbed = tree("out")
    shutil.rmtree("out")
    with unwritable(name):
        smote.generate(plan, originals, "out")
    assert tree("out") != undisturbed
    smote.generate(plan, originals, "out")
    assert tree("out") == undisturbed


def test_another_camera_makes_other_pictures(originals, plan):
    smote.generate(plan, originals, "out")
    table = np.array([400.0, 700.0])
    camera = Camera(np.ones((3, 2)), table)
    assert len(smote.generate(plan, originals, "out", camera=camera).made) == 2
    assert smote.generate(plan, originals, "out", camera=Camera(np.ones((3, 2)), table)).kept == 2
    picture = image.read("out/train/rgb_2/mixed.png")
    np.testing.assert_array_equal(picture[0], picture[1])


def test_inputs_can_be_mixed_as_published(originals, plan):
    smote.generate(plan, originals, "out", rgb="lerp")
    inputs = originals.set_index("id")["input"]
    first, second = image.read(inputs["Category-1_a_0002"]), image.read(inputs["Category-1_a_0000"])
    mixed = first + 0.25 * (second - first)
    np.testing.assert_allclose(image.read("out/train/rgb_2/mixed.png"), mixed, atol=0.5 / 255 + 1e-6)


def test_sources_can_be_stretched_as_published(originals, plan):
    smote.generate(plan, originals, "out", normalize="minmax")
    cubes = originals.set_index("id")["cube"]
    first, second = (hdf5.read(cubes[name]).values for name in ("Category-1_a_0002", "Category-1_a_0000"))
    first, second = ((cube - cube.min()) / (cube.max() - cube.min()) for cube in (first, second))
    stored = zarr.read("out/train/hsi_61_zarr/mixed.zarr").values
    np.testing.assert_allclose(stored, first + 0.25 * (second - first), atol=1e-6)


@pytest.mark.parametrize("track", [1, 2])
@pytest.mark.parametrize("rgb", ["render", "lerp"])
def test_samples_can_be_made_at_another_size(project, catalogs, plan, track, rgb):
    smote.generate(plan, catalogs[track], "out", size=24, track=track, rgb=rgb)
    row = smote.load("out").set_index("id").loc["mixed"]
    assert (row["height"], row["width"]) == (24, 24)
    assert zarr.ZarrCube(row["cube"]).shape == (61, 24, 24)
    read = mosaic.read if track == 1 else image.read
    assert read(row["input"]).shape[1:] == ((24, 24) if track == 1 else (12, 12))


def test_sources_of_different_size_meet_at_the_smaller_one(project, plan):
    folder = Path("other")
    data_folder(folder, {"train": [*numbered(1, 4), *numbered(2, 2)]}, size=16)
    cube = smooth_cube(99, 12, 20)
    hdf5.write(folder / "track2/train/hsi_61/Category-1_a_0000.h5", cube)
    image.write(folder / "track2/train/rgb_2/Category-1_a_0000.png", Camera().rgb_2(cube))
    smote.generate(plan, catalog.make(folder, 2), "out")
    assert zarr.ZarrCube("out/train/hsi_61_zarr/mixed.zarr").shape == (61, 12, 20)


def test_cubes_can_be_written_as_published(originals, plan):
    smote.generate(plan, originals, "out", format="hdf5")
    stored = hdf5.read("out/train/hsi_61/mixed.h5")
    row = plan.set_index("synthetic_id", drop=False).loc["mixed"]
    np.testing.assert_array_equal(stored.values, expected(originals, row))


@pytest.mark.parametrize("dtype", ["float16", "uint16"])
def test_the_hash_of_a_lossy_store_is_that_of_what_is_read(originals, plan, dtype):
    smote.generate(plan, originals, "out", dtype=dtype)
    row = smote.load("out").set_index("id").loc["mixed"]
    stored = zarr.read(row["cube"]).values
    assert row["cube_hash"] == facts.content_hash(stored)
    assert 0 < np.abs(stored - expected(originals, plan.iloc[1])).max() < 1e-3


@pytest.mark.parametrize("track", [1, 2])
def test_pictures_of_the_first_samples_stand_beside_their_sources(project, catalogs, plan, track):
    originals = catalogs[track]
    smote.generate(plan, originals, "out", track=track, preview=2)
    assert len(list(Path("out/preview").iterdir())) == 2
    picture = image.read("out/preview/mixed.png")
    assert picture.shape == (3, 8, 3 * 8 + 4)
    if track == 2:
        np.testing.assert_array_equal(picture[:, :, -8:], image.read("out/train/rgb_2/mixed.png"))
    smote.generate(plan, originals, "out", track=track, preview=1)
    assert [path.stem for path in Path("out/preview").iterdir()] == [plan["synthetic_id"][0]]
    smote.generate(plan, originals, "out", track=track)
    assert not Path("out/preview").exists()


@pytest.mark.parametrize("track", [1, 2])
def test_synthetic_samples_have_the_full_size_picture_as_a_target_too(project, catalogs, plan, track):
    dataset = pytest.importorskip("hsdata.batches.dataset")
    smote.generate(plan, catalogs[track], "out", track=track)
    made = smote.load("out")
    items = dataset.CubeDataset(made, track=track, target="rgb_full")
    for place, row in enumerate(made.itertuples(index=False)):
        expected = image.quantised(Camera().rgb_full(zarr.read(row.cube)))
        np.testing.assert_array_equal(image.quantised(items[place]["target"].numpy()), expected)


@pytest.mark.parametrize(("rows", "expected"), [(48, 384), (1, 128), (1000, 128)])
def test_strips_cut_no_chunk_of_a_source_unless_they_would_be_large(tmp_path, rows, expected):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("cube", (1000, 4, 61), "f4", chunks=(rows, 4, 61))
        file["wavelengths"] = 400.0 + np.arange(61.0)
    with hdf5.opened(tmp_path / "a.h5") as cube:
        work = types.SimpleNamespace(chunk=64, size=(1000, 4))
        assert mixing._rows_of_a_strip(work, cube, cube) == expected


def test_nothing_planned_makes_an_empty_catalog(originals):
    plan = pairs.planned(originals, IDS["train"]).plan
    assert smote.generate(plan, originals, "out").made == []
    assert smote.load("out").empty
    assert len(catalog.concatenated([originals, smote.load("out")])) == len(originals)


def test_samples_outside_the_training_split_are_not_loaded_for_training(originals):
    row = ["test-public", 1, "Category-1_a_0000", "Category-1_a_0005", "mixed", 0.5]
    smote.generate(pd.DataFrame([row], columns=list(pairs.PLAN_COLUMNS)), originals, "out")
    assert Path("out/test-public/rgb_2/mixed.png").is_file()
    assert smote.load("out").empty


def test_the_pipeline_never_leaks(originals):
    for strategy in ("public", "stratified", "folds"):
        decision = index.make(originals, Index(strategy=strategy, folds=2), 0)
        plan = pairs.planned(originals, decision.train, balance="max").plan
        smote.generate(plan, originals, "out")
        everything = catalog.concatenated([originals, smote.load("out")])
        assert index.leaks(decision.held_out, plan=plan, catalog=everything) == []


def test_an_impossible_plan_is_refused_before_anything_is_written(originals, plan):
    with pytest.raises(UserError, match="cannot be mixed with itself"):
        smote.generate(plan.assign(id2=plan["id1"]), originals, "out")
    assert not Path("out").exists()


def test_a_damaged_source_is_named(project, plan):
    data_folder("other", {"train": IDS["train"]}, size=16)
    originals = catalog.make("other", 2)
    file = Path("other/track2/train/hsi_61/Category-1_a_0002.h5")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"Category-1_a_0002\.h5 is truncated"):
        smote.generate(plan, originals, "out")


def test_a_source_that_is_not_what_the_catalog_says_is_named(originals, plan):
    with pytest.raises(UserError, match="make the catalog again"):
        smote.generate(plan, originals.assign(height=18), "out")


def test_an_odd_size_is_refused(originals, plan):
    with pytest.raises(UserError, match=r"smote\.size is 9"):
        smote.generate(plan, originals, "out", size=9)


def test_a_missing_gpu_is_said(originals, plan):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="no GPU"):
        smote.generate(plan, originals, "out", device="cuda")
    smote.generate(plan, originals, "out", device="auto")
    assert smote.generate(plan, originals, "out", device="cpu").kept == 2


def test_pytorch_mixes_the_same_but_for_the_last_bit():
    pytest.importorskip("torch")
    first, second = smooth_cube(1).values.copy(), smooth_cube(2).values.copy()
    on_gpu = mixing._mixer("cpu:0")(first, second, 0.3)
    np.testing.assert_allclose(on_gpu, mixing._mixer("cpu")(first, second.copy(), 0.3), atol=1e-6)


def test_a_worker_holds_strips_and_no_whole_cube(project):
    folder = Path("tall/track2/train")
    for number, name in enumerate(numbered(1, 2)):
        cube = smooth_cube(number, 1024, 16)
        hdf5.write(folder / f"hsi_61/{name}.h5", cube)
        image.write(folder / f"rgb_2/{name}.png", Camera().rgb_2(cube))
    originals = catalog.make("tall", 2)
    row = ["train", 1, *numbered(1, 2), "mixed", 0.5]
    plan = pd.DataFrame([row], columns=list(pairs.PLAN_COLUMNS))
    smote.generate(plan, originals, "out")
    tracemalloc.start()
    smote.generate(plan, originals, "out", full=True, normalize="minmax")
    smote.generate(plan, originals, "out", full=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.75 * cube.values.nbytes


SCRIPT = """
import sys
from hsdata import catalog, smote
from hsdata.mixing import pairs
originals = catalog.load("catalog.csv")
smote.generate(pairs.read("plan.csv"), originals, sys.argv[1], workers=1)
"""


def test_a_killed_run_is_taken_up_and_ends_the_same(originals, plan):
    catalog.save(originals, "catalog.csv")
    names = numbered(1, 4)
    rows = [
        ("train", 1, names[a], names[b], f"mixed-{a}{b}-{lam}", lam)
        for a in range(4)
        for b in range(4)
        if a != b
        for lam in (0.1, 0.2, 0.3)
    ]
    many = pd.DataFrame(rows, columns=list(pairs.PLAN_COLUMNS))
    pairs.write(many, "plan.csv")
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, "out"], env=os.environ)
    end = time.monotonic() + 60
    while time.monotonic() < end and len(list(Path("out").glob("train/rgb_2/*.png"))) < 3:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("out/catalog.csv").exists()
    summary = smote.generate(many, originals, "out")
    assert summary.kept > 0 and len(summary.made) + summary.kept == len(many)
    resumed = tree("out")
    smote.generate(many, originals, "out", full=True)
    assert tree("out") == resumed
    assert not any(".part-" in path or "journal" in path for path in resumed)


@pytest.mark.parametrize("balance", ["all", 0, 2.0, True, None])
def test_a_wrong_balance_is_refused_by_key(balance):
    with pytest.raises(UserError, match=r"smote\.balance"):
        validated(DataParams, {"smote": {"balance": balance}}, "params.yaml")


@pytest.mark.parametrize("balance", ["none", "max", 0.5, 1])
def test_a_balance_of_parameters_can_be_planned(balance):
    chosen = validated(DataParams, {"smote": {"balance": balance}}, "params.yaml").smote
    assert chosen.seed == 42
    pairs.plan(pd.DataFrame({"id": numbered(1, 3)}), seed=chosen.seed, balance=chosen.balance)
