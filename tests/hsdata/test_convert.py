import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from hsdata import BAND_GRID, Cube, catalog, convert, open_cube, paths, render, smote
from hsdata.formats import hdf5
from hsdata.mixing import pairs
from hsdata.params import DataParams
from hsengine.base.errors import UserError
from hsengine.base.incremental import JOURNAL


def make_data(folder: Path, names: dict[str, int], size: int = 20) -> pd.DataFrame:
    """Raw cubes, every other one compressed, and their catalog; a test-private sample has no cube."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": "private", "split": "test-private", "cube": "", "cube_hash": "", "bands": 0}]
    for name, seed in names.items():
        values = np.random.default_rng(seed).random((61, size, size + 3), dtype=np.float32)
        hdf5.write(folder / f"{name}.h5", Cube(values, BAND_GRID), gzip=1 if seed % 2 else None)
        split = "test-public" if name.startswith("p") else "train"
        rows.append(
            {"id": name, "split": split, "cube": str(folder / f"{name}.h5"), "cube_hash": str(seed), "bands": 61}
        )
    return pd.DataFrame(rows).assign(height=size, width=size + 3)


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")
    }


NAMES = {"a": 1, "b": 2, "c": 3, "p": 4}


@pytest.mark.parametrize("workers", [1, 2])
def test_every_cube_becomes_a_store(tmp_path: Path, workers: int) -> None:
    catalog = make_data(tmp_path / "raw", NAMES)
    summary = convert.update(catalog, tmp_path / "out", chunk=8, workers=workers)
    assert (summary.made, summary.kept, summary.removed, summary.worst_error) == (4, 0, 0, 0.0)
    for row in catalog[catalog.cube != ""].itertuples():
        store = tmp_path / "out" / row.split / f"{row.id}.zarr"
        np.testing.assert_array_equal(open_cube(store).values, open_cube(row.cube).values)
        np.testing.assert_array_equal(open_cube(store).wavelengths, BAND_GRID)
        array = zarr.open_array(store, mode="r")
        assert array.attrs["source"] == row.id
        assert array.chunks == (61, 8, 8)
    assert not (tmp_path / "out" / "test-private").exists()


def test_the_number_of_workers_and_the_place_do_not_show(tmp_path: Path) -> None:
    catalog = make_data(tmp_path / "raw", NAMES)
    convert.update(catalog, tmp_path / "one", workers=1)
    convert.update(catalog.iloc[::-1], tmp_path / "deep" / "two", workers=2)
    assert content_of(tmp_path / "one") == content_of(tmp_path / "deep" / "two")


def test_a_cluster_writes_the_same_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: str) -> None:
    monkeypatch.chdir(tmp_path)
    catalog = make_data(Path("raw"), NAMES)
    convert.update(catalog, "one", workers=1)
    assert convert.update(catalog, "two", scheduler=cluster).made == 4
    assert content_of(Path("one")) == content_of(Path("two"))
    assert convert.update(catalog, "two").kept == 4


def test_only_the_samples_that_changed_are_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    genuine = hdf5.opened
    monkeypatch.setattr(hdf5, "opened", lambda path: opened.append(Path(path).stem) or genuine(path))
    out = tmp_path / "out"
    convert.update(make_data(tmp_path / "raw", NAMES), out)
    assert opened == ["a", "b", "c", "p"]

    opened.clear()
    assert convert.update(make_data(tmp_path / "raw", NAMES), out).kept == 4
    assert opened == []

    summary = convert.update(make_data(tmp_path / "raw", {"a": 1, "b": 12, "d": 5, "p": 4}), out)
    assert (summary.made, summary.kept, summary.removed) == (2, 2, 1)
    assert opened == ["b", "d"]
    assert not (out / "train/c.zarr").exists()

    opened.clear()
    assert convert.update(make_data(tmp_path / "raw", {"a": 1}), out, chunk=8).made == 1
    assert convert.update(make_data(tmp_path / "raw", {"a": 1}), out, chunk=8, dtype="uint16").made == 1
    monkeypatch.setattr(convert, "function_hash", lambda function: "of other code")
    assert convert.update(make_data(tmp_path / "raw", {"a": 1}), out, chunk=8, dtype="uint16").made == 1
    assert convert.update(make_data(tmp_path / "raw", {"a": 1}), out, chunk=8, dtype="uint16", full=True).made == 1
    assert opened == ["a"] * 4


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 0.0), ("float16", 2.5e-4), ("uint16", 8e-6)])
def test_the_worst_error_is_stated_also_for_what_was_kept(tmp_path: Path, dtype: Any, limit: float) -> None:
    catalog = make_data(tmp_path / "raw", NAMES)
    worst = convert.update(catalog, tmp_path / "out", dtype=dtype).worst_error
    found = max(
        float(
            np.abs(open_cube(tmp_path / "out" / row.split / f"{row.id}.zarr").values - open_cube(row.cube).values).max()
        )
        for row in catalog[catalog.cube != ""].itertuples()
    )
    assert worst == found <= limit
    again = convert.update(catalog, tmp_path / "out", dtype=dtype)
    assert (again.kept, again.worst_error) == (4, worst)
    assert "every bit kept" in str(again) if dtype == "float32" else f"{worst:.1e}" in str(again)


def test_a_store_damaged_by_hand_is_made_again(tmp_path: Path) -> None:
    catalog = make_data(tmp_path / "raw", NAMES)
    convert.update(catalog, tmp_path / "out")
    before = content_of(tmp_path / "out")
    shard = tmp_path / "out/train/b.zarr/c.0.0.0"
    shard.write_bytes(shard.read_bytes()[:-40])
    (tmp_path / "out/train/c.zarr/zarr.json").unlink()
    assert convert.update(catalog, tmp_path / "out").made == 2
    assert content_of(tmp_path / "out") == before


def test_a_cube_that_is_not_what_the_catalog_says_is_refused(tmp_path: Path) -> None:
    catalog = make_data(tmp_path / "raw", NAMES)
    with pytest.raises(
        UserError, match=r"a\.h5 has .* \(61, 20, 23\), but the catalog says \(61, 21, 23\).*hsdata cat"
    ):
        convert.update(catalog.assign(height=21), tmp_path / "out")
    with pytest.raises(UserError, match="no content hash"):
        convert.update(catalog.assign(cube_hash=""), tmp_path / "out")


def test_a_cube_that_cannot_be_read_is_named_and_the_rest_kept(tmp_path: Path) -> None:
    catalog = make_data(tmp_path / "raw", NAMES)
    whole = (tmp_path / "raw/c.h5").read_bytes()
    (tmp_path / "raw/c.h5").write_bytes(whole[:5000])
    with pytest.raises(UserError, match=r"c\.h5 is truncated"):
        convert.update(catalog, tmp_path / "out", workers=1)
    assert not (tmp_path / "out/train/c.zarr").exists()
    assert not list((tmp_path / "out").rglob(".part-*"))
    (tmp_path / "raw/c.h5").write_bytes(whole)
    assert convert.update(catalog, tmp_path / "out").kept == 2
    convert.update(catalog, tmp_path / "undisturbed")
    assert content_of(tmp_path / "out") == content_of(tmp_path / "undisturbed")


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_strips_do_not_depend_on_the_chunks_of_the_raw_file(tmp_path: Path, dtype: Any) -> None:
    values = np.random.default_rng(0).random((4, 150, 9), dtype=np.float32)
    cube = Cube(values, np.arange(4) * 10.0 + 400)
    hdf5.write(tmp_path / "a.h5", cube, gzip=1)
    work = convert.Work("a", str(tmp_path / "a.h5"), str(tmp_path / "a.zarr"), (4, 150, 9), 48, dtype)
    convert.convert(work)
    hdf5.write(tmp_path / "a.h5", cube)
    convert.convert(replace(work, store=str(tmp_path / "b.zarr")))
    assert content_of(tmp_path / "a.zarr") == content_of(tmp_path / "b.zarr")
    np.testing.assert_allclose(open_cube(tmp_path / "a.zarr").values, values, atol=1e-5)


def test_killed_conversions_end_as_an_undisturbed_one(tmp_path: Path) -> None:
    names = {f"s{index:02}": index for index in range(12)}
    catalog = make_data(tmp_path / "raw", names, size=60)
    convert.update(catalog, tmp_path / "undisturbed", chunk=8, workers=1)
    catalog.to_pickle(tmp_path / "catalog.pkl")
    script = tmp_path / "run.py"
    script.write_text(
        "if __name__ == '__main__':\n"
        "    import pandas as pd\n"
        "    from hsdata import convert\n"
        f"    catalog = pd.read_pickle({str(tmp_path / 'catalog.pkl')!r})\n"
        f"    print(convert.update(catalog, {str(tmp_path / 'out')!r}, chunk=8, workers=2).kept)\n"
    )
    chance = random.Random(1)
    journal = tmp_path / "out" / JOURNAL
    for _ in range(2):
        process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.DEVNULL)
        while process.poll() is None and not journal.exists():
            time.sleep(0.005)
        lines = journal.read_bytes().count(b"\n") if journal.exists() else 0
        while process.poll() is None and journal.exists() and journal.read_bytes().count(b"\n") < lines + 2:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        process.wait()
    outcome = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert int(outcome.stdout) > 0
    assert content_of(tmp_path / "out") == content_of(tmp_path / "undisturbed")


@pytest.mark.parametrize("stage", [convert, render, smote], ids=lambda stage: stage.__name__)
def test_a_catalog_that_lists_nothing_removes_nothing(tmp_path, monkeypatch, stage):
    monkeypatch.chdir(tmp_path)
    catalog.save(catalog.framed([]), paths.CATALOG)
    pairs.write(pairs.plan(pd.DataFrame({"id": ["Category-1_a_0000"]})), paths.SMOTE_PLAN)
    with pytest.raises(UserError, match="lists no sample"):
        stage.run(DataParams())
    assert not any(place.exists() for place in (paths.ZARR, paths.RENDERED, paths.SMOTE))
