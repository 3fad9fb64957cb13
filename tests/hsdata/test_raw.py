import functools
import http.server
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hsdata import catalog, convert, facts, layout, raw, render, smote
from hsdata.batches import dataset
from hsdata.formats import hdf5, image, mosaic
from hsdata.mixing import pairs
from hsdata.testing import catalog_of, data_folder, numbered, smooth_cube
from hsengine.base.errors import UserError

[ROW] = catalog_of({"train": ["Category-1_a_0000"]}).to_dict("records")


def test_a_cube_that_is_not_what_the_catalog_says_is_refused(tmp_path):
    path = str(tmp_path / "a.h5")
    hdf5.write(path, smooth_cube(0))
    with raw.opened(path, (61, 8, 8)) as cube:
        assert cube.shape == raw.shape_of(ROW)
    with (
        pytest.raises(UserError, match=r"a\.h5 has .*\(61, 8, 8\), but the catalog says \(61, 8, 9\).*hsdata catalog"),
        raw.opened(path, (61, 8, 9)),
    ):
        pass


def test_a_row_without_a_hash_is_refused():
    assert raw.content_of(ROW) == "cube of Category-1_a_0000"
    with pytest.raises(UserError, match=r"no content hash for data/track2/train/hsi_61/Category-1_a_0000\.h5"):
        raw.content_of(ROW | {"cube_hash": ""})


def test_workers_of_a_cluster_get_whole_paths_and_urls_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert raw.location("data/a.h5") == "data/a.h5"
    assert raw.location("data/a.h5", "tcp://host:1") == str(tmp_path / "data/a.h5")
    assert raw.location("s3://bucket/a.h5", "tcp://host:1") == "s3://bucket/a.h5"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        """Say nothing."""


@pytest.fixture
def server(tmp_path):
    """The address of a file server for the test's folder."""
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def content_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("track", [1, 2])
@pytest.mark.parametrize("rgb", ["render", "lerp"])
def test_stages_read_raw_files_at_urls(tmp_path, monkeypatch, server, track, rgb):
    monkeypatch.chdir(tmp_path)
    names = numbered(1, 3)
    local = catalog.make(data_folder("data", {"train": names}), track)
    columns = ["cube", "input"]
    remote = local.assign(**{column: server + "/" + local[column] for column in columns})
    modality = layout.INPUT_MODALITY[track]
    keys = [(modality, path) for path in remote["input"]] + [(layout.CUBES, path) for path in remote["cube"]]
    found = facts.of_files(keys, count=1)
    assert [found[key].content for key in keys] == [*local["input_hash"], *local["cube_hash"]]
    plan = pairs.plan(pd.DataFrame({"id": names, "label": 1}).iloc[:0])
    plan.loc[0] = ["train", 1, names[0], names[2], "mixed", 0.25]
    for place, frame in (("one", local), ("two", remote)):
        convert.update(frame, f"{place}/zarr", workers=1)
        render.update(frame, f"{place}/rgb", workers=1)
        smote.generate(plan, frame, "smote", track=track, rgb=rgb, workers=1, full=True)
        Path("smote").rename(f"{place}/smote")
    assert content_of(Path("one")) == content_of(Path("two"))
    here, there = (
        dataset.CubeDataset(frame, track=track, zarr_root=root)
        for frame, root in ((local, "one/zarr"), (remote, f"{server}/two/zarr"))
    )
    for name in ("input", "target"):
        np.testing.assert_array_equal(here[1][name], there[1][name])


def test_a_file_that_a_server_lacks_is_named(server):
    for reader, name in ((image.read, "a.png"), (mosaic.read, "a.npy"), (hdf5.read, "a.h5")):
        with pytest.raises(UserError, match=rf"There is no .* at {server}/{name}"):
            reader(f"{server}/{name}")
    with pytest.raises(UserError, match="cannot be reached"):
        image.read("http://127.0.0.1:9/a.png")
