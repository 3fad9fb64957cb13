import multiprocessing
import pickle

import numpy as np
import pytest

from hsdata.batches.cache import SharedArrays
from hsengine.base.errors import UserError


def test_an_array_is_made_once() -> None:
    arrays = SharedArrays({"a": ((2, 3), np.float32), "b": ((4,), np.uint8)})
    first = arrays.get("a", lambda: np.full((2, 3), 0.5, np.float32))
    np.testing.assert_array_equal(arrays.get("b", lambda: np.arange(4, dtype=np.uint8)), [0, 1, 2, 3])
    np.testing.assert_array_equal(arrays.get("a", lambda: np.zeros((2, 3), np.float32)), first)
    assert (first == 0.5).all()


def test_forked_processes_share_what_one_has_made() -> None:
    arrays = SharedArrays({"a": ((2,), np.float32)})
    child = multiprocessing.get_context("fork").Process(target=arrays.get, args=("a", lambda: np.ones(2, np.float32)))
    child.start()
    child.join()
    np.testing.assert_array_equal(arrays.get("a", lambda: np.zeros(2, np.float32)), [1, 1])


def test_a_pickled_copy_starts_empty() -> None:
    arrays = SharedArrays({"a": ((1000, 1000), np.float64)})
    arrays.get("a", lambda: np.ones((1000, 1000)))
    content = pickle.dumps(arrays)
    assert len(content) < 1000
    assert pickle.loads(content).get("a", lambda: np.zeros((1000, 1000))).max() == 0


def test_what_is_handed_out_cannot_be_written_to() -> None:
    array = SharedArrays({"a": ((2,), np.float32)}).get("a", lambda: np.ones(2, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 2


def test_another_shape_than_announced_is_refused_and_not_kept() -> None:
    arrays = SharedArrays({"a": ((2,), np.float32)})
    with pytest.raises(ValueError, match=r"shape \(3,\) where \(2,\) is expected"):
        arrays.get("a", lambda: np.ones(3, np.float32))
    assert arrays.get("a", lambda: np.ones(2, np.float32)).tolist() == [1, 1]


def test_more_than_the_machines_memory_is_refused() -> None:
    with pytest.raises(UserError, match=r"GB.*set it to 'none'"):
        SharedArrays({"a": ((10**15,), np.uint8)})


def test_nothing_to_keep_is_allowed() -> None:
    SharedArrays({})
