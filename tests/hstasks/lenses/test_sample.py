import hashlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from hsengine.base.errors import UserError
from hstasks.lenses import catalog, layout, open_cutout, sample
from hstasks.lenses.params import Data, LensSections
from hstasks.lenses.sky import objects


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_sample_is_a_release_and_the_same_with_any_workers(tmp_path: Path) -> None:
    summary = sample.run(tmp_path / "one", objects=5, blind=9, workers=1)
    sample.run(tmp_path / "two", objects=5, blind=9, workers=2)
    found = content_of(tmp_path / "one")
    assert found == content_of(tmp_path / "two")
    assert len([name for name in found if name.endswith("_g.fits")]) == 4 * 5 + 9
    assert summary.bytes == sum(len(content) for name, content in found.items() if name.endswith(".fits"))
    frame, problems, _ = catalog.make(LensSections(data=Data(root=str(tmp_path / "one"))))
    assert not problems and (frame["bands"] == "grizy").all()
    known = frame[frame["label"] >= 0]
    assert known["ra"].notna().all()
    assert known.loc[known["label"] == 1, "rein"].between(0.6, 2.2).all()
    assert all(len(name) == 17 and name.isdecimal() for name in known.loc[known["domain"] == "hsc", "inner_id"])


def test_files_have_the_released_form(tmp_path: Path, shared: Path) -> None:
    sample.run(tmp_path / "s", objects=1, blind=1)
    path = tmp_path / "s" / "slsim_lenses" / "slsim_lenses" / "D1_L_00000000_g.fits"
    assert path.stat().st_size == 20160
    theirs = shared / "data" / "lens-mini" / "slsim_lenses" / "slsim_lenses" / "D1_L_00000000_g.fits"
    with fits.open(path) as ours, fits.open(theirs) as known:
        assert [list(part.header) for part in ours] == [list(part.header) for part in known]
        np.testing.assert_array_equal(ours[1].data["band_g"][0], open_cutout(path)[0][0])
    with fits.open(tmp_path / "s" / "test" / "object_00000_y.fits") as blind:
        assert blind[0].data.dtype == ">f4" and blind[0].data.shape == (41, 41)
    for bucket in layout.BUCKETS:
        table = fits.getdata(tmp_path / "s" / bucket.name / "parameters.fits", 1)
        known_table = fits.getdata(shared / "data" / "lens-mini" / bucket.name / "parameters.fits", 1)
        assert table.names == known_table.names


def test_the_bytes_are_those_of_every_other_machine() -> None:
    found = hashlib.sha256()
    for bucket in layout.BUCKETS:
        for index in range(3):
            found.update(objects.draw(0, bucket.domain, bucket.label, index).image.astype(">f8").tobytes())
    assert found.hexdigest() == "219e76110eaf1c6c3b87423bd77180ad8ffc2efb93a55a2783f497049766a224"


def test_an_object_follows_from_its_numbers_alone() -> None:
    one = objects.draw(3, "hsc", 1, 7).image
    objects.draw(3, "hsc", 1, 8)
    np.testing.assert_array_equal(objects.draw(3, "hsc", 1, 7).image, one)
    for other in ((4, "hsc", 1, 7), (3, "slsim", 1, 7), (3, "hsc", 0, 7), (3, "hsc", 1, 8)):
        assert np.abs(np.corrcoef(objects.draw(*other).image[4, :8].ravel(), one[4, :8].ravel())[0, 1]) < 0.5


def test_pixel_statistics_are_those_of_the_challenge() -> None:
    images = np.stack([objects.draw(0, "slsim", 1, index).image for index in range(24)])
    assert 0.2 < images.mean() < 0.4 and 0.7 < images.std() < 2.2
    assert -4.5 < images.min() < -2.0 and 0.03 < np.median(images) < 0.08


def test_a_folder_that_exists_is_not_replaced_by_chance(tmp_path: Path) -> None:
    (tmp_path / "hsc_lenses").mkdir()
    (tmp_path / "hsc_lenses" / "mine").write_text("x")
    with pytest.raises(UserError, match="holds hsc_lenses already"):
        sample.run(tmp_path, objects=1, blind=0)
    assert not (tmp_path / "slsim_lenses").exists()
    sample.run(tmp_path, objects=1, blind=0, force=True)
    assert not (tmp_path / "hsc_lenses" / "mine").exists()
    with pytest.raises(UserError, match="out of range"):
        sample.run(tmp_path / "b", objects=0)
