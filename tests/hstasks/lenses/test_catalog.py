from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hstasks.lenses import catalog, groups, layout
from hstasks.lenses.params import Data, LensSections
from hstasks.lenses.sky import released

Maker = Callable[..., LensSections]


def test_lens_mini_is_catalogued_by_object(shared: Path, tmp_path: Path) -> None:
    params = LensSections(data=Data(root=str(shared / "data" / "lens-mini")))
    summary = catalog.run(params, out=tmp_path / "catalog.csv")
    frame = catalog.load(tmp_path / "catalog.csv").set_index("id")
    assert summary.counts == {**{bucket.name: 14 for bucket in layout.BUCKETS}, "test": 24}
    assert (frame["bands"] == "grizy").all() and not summary.unreadable
    assert frame.loc["D2_L_00000000", "inner_id"] == "13533854911046119"
    assert frame.loc["D2_L_00000000", "ra"] == pytest.approx(135.33854911)
    # One inner id for two objects says nothing of either, but they stay together.
    assert frame.loc[["D1_N_00000006", "D1_N_00000007"], "ra"].isna().all()
    assert frame.loc["D1_N_00000006", "host"] == frame.loc["D1_N_00000007", "host"]
    # Two galaxies of one frame.
    assert frame.loc["D2_N_00000012", "sky"] == frame.loc["D2_N_00000013", "sky"]
    assert frame["group"].nunique() == len(frame) - 2
    assert set(frame.loc[frame["bucket"] == "test", "label"]) == {-1}


def test_what_cannot_be_read_is_listed_by_object_and_band_and_the_object_stays(release: Maker) -> None:
    params = release()
    root = Path(params.data.root)
    folder = root / "hsc_lenses" / "hsc_lenses"
    (folder / "D2_L_00000002_i.fits").write_bytes(b"SIMPLE")
    (folder / "D2_L_00000003_g.fits").rename(root / "g.fits")
    (folder / "D2_L_00000003_g.fits.part").write_bytes(b"")
    for band in "grizy":
        (root / "test" / f"object_00004_{band}.fits").write_bytes(b"")
    other = (folder / "D2_L_00000004_z.fits").read_bytes()
    (folder / "D2_L_00000004_y.fits").write_bytes(other)
    (root / "hsc_lenses" / "manifest.csv").write_text("file,x\nD2_L_00000099_z.fits,1\nD2_L_00000001_z.fits,1\n")
    out = root / "derived" / "catalog.csv"
    summary = catalog.run(params, out=out)
    frame = catalog.load(out).set_index("id")
    listed = pd.read_csv(out.with_name("unreadable.csv"), dtype=str, keep_default_na=False)
    found = set(zip(listed["object"], listed["band"], strict=True))
    assert found == {
        ("D2_L_00000002", "i"), ("D2_L_00000003", "g"), ("D2_L_00000004", "y"), ("D2_L_00000099", "z"),
        ("D2_L_00000003_g.fits.part", ""),
        *(("object_00004", band) for band in "grizy"),
    }  # fmt: skip
    assert len(frame) == 29 and summary.lost == ["object_00004"]
    assert frame.loc["D2_L_00000002", "bands"] == "grzy" and frame.loc["object_00004", "bands"] == ""
    assert "D2_L_00000002 band i" in str(summary)


def test_both_depths_of_folders_give_the_same_objects(release: Maker) -> None:
    params = release()
    nested, _, _ = catalog.make(params)
    for bucket in layout.BUCKETS:
        inner = Path(params.data.root, bucket.name, bucket.name)
        for path in inner.iterdir():
            path.rename(inner.parent / path.name)
        inner.rmdir()
    bare, _, _ = catalog.make(params)
    pd.testing.assert_frame_equal(nested.drop(columns="folder"), bare.drop(columns="folder"))


def test_the_number_of_workers_does_not_show(release: Maker) -> None:
    params = release(objects=40, blind=0)
    pd.testing.assert_frame_equal(catalog.make(params, workers=1)[0], catalog.make(params, workers=2)[0])


def test_files_of_another_bucket_and_doubles_are_refused(release: Maker) -> None:
    params = release(objects=2)
    folder = Path(params.data.root, "hsc_lenses", "hsc_lenses")
    double = folder / "D2_L_00000000_g.fits.gz"
    double.write_bytes(b"")
    with pytest.raises(UserError, match="D2_L_00000000 has two files of band g"):
        catalog.make(params)
    double.rename(folder / "D2_N_00000000_g.fits")
    with pytest.raises(UserError, match=r"belong elsewhere.*D2_N_00000000_g"):
        catalog.make(params)
    with pytest.raises(UserError, match="none of the folders slsim_lenses"):
        catalog.make(LensSections(data=Data(root=str(folder))))


def test_one_image_under_two_labels_is_one_host(release: Maker) -> None:
    params = release()
    root = Path(params.data.root)
    image, _ = catalog.open_cutout(root / "hsc_lenses" / "hsc_lenses" / "D2_L_00000000_y.fits")
    content = released.training_file("Object ID", "other", "y", image[0])
    (root / "slsim_nonlenses" / "slsim_nonlenses" / "D1_N_00000005_y.fits").write_bytes(content)
    frame = catalog.make(params)[0].set_index("id")
    assert frame.loc["D2_L_00000000", "host"] == frame.loc["D1_N_00000005", "host"]
    assert frame.loc["D2_L_00000000", "sky"] != frame.loc["D1_N_00000005", "sky"]


def test_a_catalog_survives_its_file(release: Maker, tmp_path: Path) -> None:
    frame, _, _ = catalog.make(release())
    catalog.save(frame, tmp_path / "a.csv")
    loaded = catalog.load(tmp_path / "a.csv")
    pd.testing.assert_frame_equal(frame, loaded)
    assert loaded.loc[0, "inner_id"] == "00000000000000000"
    catalog.save(loaded, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="not a catalog"):
        catalog.load(tmp_path / "b.csv")


CELLS = st.lists(st.tuples(st.integers(0, 30), st.integers(-15, 15)), max_size=30)


@given(CELLS, st.sampled_from([0.0, 359.999, 180.0]))
def test_places_closer_than_the_radius_are_linked(cells: list[tuple[int, int]], ra: float) -> None:
    # In steps of 3 arcsec at the equator, also across the meridian where right ascension begins.
    ras = np.array([(ra + 3.0 * x / 3600.0) % 360.0 for x, _ in cells])
    decs = np.array([3.0 * y / 3600.0 for _, y in cells])
    found = {tuple(sorted(pair)) for pair in groups.sky_pairs(ras, decs, 8.0).tolist()}
    labels = groups.components(len(cells), [groups.sky_pairs(ras, decs, 8.0)])
    for one in range(len(cells)):
        for other in range(one):
            near = np.hypot(cells[one][0] - cells[other][0], cells[one][1] - cells[other][1]) * 3.0 < 8.0
            assert not near or labels[one] == labels[other]
            assert near or (other, one) not in found


def test_thousands_of_objects_at_one_place_are_one_group() -> None:
    count = 20_000
    ra, dec = np.full(count, 12.0), np.full(count, -3.0)
    ra[-1], dec[-2] = np.nan, -3.1
    labels = groups.components(count, [groups.sky_pairs(ra, dec, 8.0)])
    assert set(labels[:-2]) == {0} and list(labels[-2:]) == [1, 2]
