import errno
import fcntl
import itertools
import os
import sqlite3

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsdata import facts
from hsdata.formats import hdf5
from hsdata.testing import smooth_cube
from hsengine.base import remembered


@pytest.fixture
def files(tmp_path):
    """Two cubes that were last changed a while ago."""
    keys = []
    for seed in (1, 2):
        path = tmp_path / f"{seed}.h5"
        hdf5.write(path, smooth_cube(seed))
        os.utime(path, ns=(10**18, 10**18))
        keys.append(("hsi_61", str(path)))
    return keys


@pytest.fixture
def reads(monkeypatch):
    """The files that were really read."""
    paths = []
    original = facts._read_cube

    def spy(path):
        paths.append(path)
        return original(path)

    monkeypatch.setattr(facts, "_read_cube", spy)
    return paths


def test_an_unchanged_file_is_not_read_again(files, reads):
    first = facts.of_files(files)
    assert len(reads) == 2
    assert facts.of_files(files) == first and len(reads) == 2
    assert first[files[0]].content == facts.content_hash(smooth_cube(1).values)
    assert len(first[files[0]].wavelengths) == 61


def test_a_link_to_a_known_file_is_not_read(files, reads, tmp_path):
    facts.of_files(files)
    (tmp_path / "link.h5").symlink_to(files[0][1])
    facts.of_files([("hsi_61", str(tmp_path / "link.h5"))])
    assert len(reads) == 2


def test_a_changed_file_is_read_again(files, reads):
    facts.of_files(files)
    hdf5.write(files[0][1], smooth_cube(3))
    assert facts.of_files(files)[files[0]].content == facts.content_hash(smooth_cube(3).values)
    assert reads[2:] == [files[0][1]]


def test_a_file_that_was_just_changed_is_not_yet_trusted(files, reads):
    os.utime(files[0][1])
    facts.of_files(files)
    facts.of_files(files)
    assert reads[2:] == [files[0][1]]


def test_an_unreadable_file_is_looked_at_again(tmp_path, reads):
    path = tmp_path / "broken.h5"
    path.write_bytes(b"no cube")
    os.utime(path, ns=(10**18, 10**18))
    for _ in range(2):
        assert "broken.h5" in facts.of_files([("hsi_61", str(path))])["hsi_61", str(path)].error
    assert len(reads) == 2


@pytest.mark.parametrize("damage", ["not a database", "row", "table"])
def test_a_damaged_store_is_begun_anew(files, reads, damage):
    first = facts.of_files(files)
    store = remembered.store_path(facts.STORE)
    if damage == "not a database":
        store.write_bytes(b"garbage" * 1000)
    else:
        with sqlite3.connect(store) as connection:
            statement = "UPDATE known SET value = '{\"hash\": 1}'" if damage == "row" else "DROP TABLE known"
            connection.execute(statement)
        connection.close()
    assert facts.of_files(files) == first and len(reads) == 4
    assert facts.of_files(files) == first and len(reads) == 4


def test_without_a_place_to_remember_everything_is_read(files, reads, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HYPEROBJECT_STATE", str(tmp_path / "file" / "state"))
    assert facts.of_files(files) == facts.of_files(files) and len(reads) == 4


@given(st.integers(1, 7), st.integers(1, 7), st.lists(st.integers(1, 6), max_size=4), st.booleans())
def test_the_hash_does_not_depend_on_strips_or_memory_order(height, width, cuts, transposed):
    values = np.random.default_rng(height).standard_normal((3, height, width)).astype(np.float32)
    stored = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, 2)), 2, 0) if transposed else values
    content = facts.Content(3)
    edges = sorted({0, height, *(cut for cut in cuts if cut < height)})
    for top, bottom in itertools.pairwise(edges):
        content.update(stored[:, top:bottom])
    assert content.hexdigest() == facts.content_hash(values)
    assert (content.below, content.above) == (int((values < 0).sum()), int((values > 1).sum()))


def test_shape_is_part_of_the_hash():
    values = np.zeros((2, 3, 4), np.float32)
    assert facts.content_hash(values) != facts.content_hash(values.reshape(2, 4, 3))


def test_where_files_cannot_be_locked_nothing_is_remembered_and_nothing_waited_for(files, reads, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    # SQLite would wait for a lock that is not there.
    monkeypatch.setattr(sqlite3, "connect", lambda *_, **__: pytest.fail("opened"))
    assert facts.of_files(files) == facts.of_files(files)
    assert len(reads) == 4


def test_a_store_that_another_holds_is_waited_for_once(files, reads, monkeypatch):
    facts.of_files(files)
    monkeypatch.setattr(remembered, "_WAIT_SECONDS", 0.01)
    asked = []
    genuine = remembered.Store._do_without
    monkeypatch.setattr(remembered.Store, "_do_without", lambda store: (asked.append(store), genuine(store)))
    with sqlite3.connect(remembered.store_path(facts.STORE), isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        facts.of_files(files)
        other.execute("ROLLBACK")
    assert len(reads) == 4
    assert len(asked) <= 2
