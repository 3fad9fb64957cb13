from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hsdata import catalog, render
from hsdata.camera import colour
from hsdata.formats import hdf5, image
from hsdata.testing import data_folder, numbered, smooth_cube
from hsengine.base.errors import UserError


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    ids = {"train": numbered(1, 3), "test-public": numbered(2, 1), "test-private": numbered(3, 1)}
    return catalog.make(data_folder(tmp_path / "data", ids), 2, workers=1)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_cube_becomes_its_render(tmp_path: Path, frame: pd.DataFrame, workers: int) -> None:
    summary = render.update(frame, tmp_path / "out", workers=workers)
    assert (summary.made, summary.kept, summary.removed) == (4, 0, 0)
    for row in frame[frame.cube != ""].itertuples():
        cube = hdf5.read(row.cube)
        found = image.read(tmp_path / "out" / row.split / f"{row.id}.png")
        np.testing.assert_array_equal(
            image.quantised(found), image.quantised(colour.to_srgb(cube.values, cube.wavelengths))
        )
    assert not (tmp_path / "out" / "test-private").exists()


def test_a_cluster_makes_the_same_pictures(
    tmp_path: Path, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, cluster: str
) -> None:
    monkeypatch.chdir(tmp_path)
    render.update(frame, "out", workers=1)
    before = content_of(Path("out"))
    assert render.update(frame, "out", scheduler=cluster, full=True).made == 4
    assert content_of(Path("out")) == before


def content_of(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_strips_leave_no_seams(tmp_path: Path) -> None:
    cube = smooth_cube(5, 150, 6)
    hdf5.write(tmp_path / "a.h5", cube, gzip=1)
    render.render(render.Work(str(tmp_path / "a.h5"), str(tmp_path / "a.png"), cube.values.shape))
    expected = image.encoded(colour.to_srgb(cube.values, cube.wavelengths))
    assert (tmp_path / "a.png").read_bytes() == expected


def test_only_what_changed_is_made_again(tmp_path: Path, frame: pd.DataFrame) -> None:
    out = tmp_path / "out"
    render.update(frame, out, workers=1)
    again = render.update(frame, out, workers=1)
    assert (again.made, again.kept) == (0, 4)
    changed = frame.copy()
    changed.loc[0, "cube_hash"] = "another"
    fewer = changed[changed.id != changed.id[1]]
    partly = render.update(fewer, out, workers=1)
    assert (partly.made, partly.kept, partly.removed) == (1, 2, 1)
    assert not (out / "train" / f"{frame.id[1]}.png").exists()
    assert render.update(fewer, out, workers=1, full=True).made == 3


def test_what_could_not_be_written_is_written_by_the_next_run(
    tmp_path: Path, frame: pd.DataFrame, unwritable: Any
) -> None:
    render.update(frame, tmp_path / "undisturbed", workers=1)
    with unwritable(f"{frame.id[2]}.png"):
        render.update(frame, tmp_path / "out", workers=1)
    assert render.update(frame, tmp_path / "out", workers=1).kept == 2
    assert content_of(tmp_path / "out") == content_of(tmp_path / "undisturbed")


def test_a_cube_that_is_not_the_catalogs_is_named(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame.loc[0, "height"] = 99
    with pytest.raises(UserError, match=rf"{frame.id[0]}.*hsdata catalog"):
        render.update(frame, tmp_path / "out", workers=1)


def test_a_catalog_without_hashes_is_refused(tmp_path: Path, frame: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="content hash"):
        render.update(frame.assign(cube_hash=""), tmp_path / "out", workers=1)
