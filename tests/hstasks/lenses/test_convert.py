import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from hsengine.base.errors import UserError
from hsengine.base.incremental import JOURNAL
from hstasks.lenses import catalog, convert, open_cutout
from hstasks.lenses.params import LensSections

Maker = Callable[..., LensSections]


def stages(params: LensSections, place: Path, **options: int) -> convert.Summary:
    catalog.run(params, out=place / "catalog.csv")
    return convert.run(params, catalog=place / "catalog.csv", out=place / "store", **options)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_store_holds_every_value_and_zarr_agrees(release: Maker, tmp_path: Path) -> None:
    params = release()
    (Path(params.data.root) / "test" / "object_00003_i.fits").write_bytes(b"")
    summary = stages(params, tmp_path)
    assert (summary.made, summary.objects, summary.files) == (4 * 2 + 2, 29, 29 * 5 - 1)
    store, group = convert.Store(tmp_path / "store"), zarr.open_group(tmp_path / "store", mode="r")
    for row in catalog.load(tmp_path / "catalog.csv").itertuples():
        image = store.read(row.bucket, row.row)
        np.testing.assert_array_equal(image, group[row.bucket][row.row])
        for place, band in enumerate("grizy"):
            path = catalog.files_of(row).get(band)
            if path is None:
                assert (row.id, band) == ("object_00003", "i") and np.isnan(image[place]).all()
            else:
                np.testing.assert_array_equal(image[place], open_cutout(path)[0][0])


def test_only_shards_with_changed_objects_are_written(release: Maker, tmp_path: Path) -> None:
    params = release()
    stages(params, tmp_path)
    assert stages(params, tmp_path).made == 0
    folder = Path(params.data.root, "hsc_lenses", "hsc_lenses")
    (folder / "D2_L_00000005_z.fits").write_bytes((folder / "D2_L_00000004_z.fits").read_bytes())
    assert stages(params, tmp_path).made == 1
    for band in "grizy":
        (folder / f"D2_L_00000000_{band}.fits").rename(folder / f"D2_L_00000100_{band}.fits")
    again = stages(params, tmp_path)
    assert (again.made, again.kept) == (2, 9)
    store = convert.Store(tmp_path / "store")
    assert np.isfinite(store.read("hsc_lenses", 100)).all()
    with pytest.raises(UserError, match="no object of number 0"):
        store.read("hsc_lenses", 0)
    for number in (4, 5):
        for band in "grizy":
            (folder / f"D2_L_{number:08d}_{band}.fits").unlink()
    assert stages(params, tmp_path).removed == 1


def test_workers_do_not_show_and_an_interrupted_run_is_taken_up(release: Maker, tmp_path: Path) -> None:
    params = release(objects=12)
    catalog.run(params, out=tmp_path / "catalog.csv")
    path = Path(params.data.root, "test", "object_00004_z.fits")
    whole = path.read_bytes()
    path.write_bytes(whole[:4000])
    with pytest.raises(UserError, match=r"object_00004 band z.*run 'catalog' again"):
        convert.run(params, catalog=tmp_path / "catalog.csv", out=tmp_path / "store", workers=1)
    assert (tmp_path / "store" / JOURNAL).exists()
    path.write_bytes(whole)
    rest = convert.run(params, catalog=tmp_path / "catalog.csv", out=tmp_path / "store", workers=1)
    assert rest.made == 1 and rest.kept == 13
    convert.run(params, catalog=tmp_path / "catalog.csv", out=tmp_path / "other", workers=2)
    assert content_of(tmp_path / "store") == content_of(tmp_path / "other")


def test_a_damaged_store_is_noticed_and_mended(release: Maker, tmp_path: Path) -> None:
    params = release()
    stages(params, tmp_path)
    before = content_of(tmp_path / "store")
    shard = tmp_path / "store" / "test" / "c" / "0" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-7])
    with pytest.raises(UserError, match="damaged"):
        convert.Store(tmp_path / "store").read("test", 0)
    assert stages(params, tmp_path).made == 1
    assert content_of(tmp_path / "store") == before


def test_a_store_travels_to_other_processes(release: Maker, tmp_path: Path) -> None:
    stages(release(), tmp_path)
    store = convert.Store(tmp_path / "store")
    image = store.read("test", 1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).read_many([("test", 1)])[0], image)
    with pytest.raises(UserError, match="no bucket elsewhere"):
        store.read("elsewhere", 0)
    with pytest.raises(UserError, match="no store of cut-outs"):
        convert.Store(tmp_path)
