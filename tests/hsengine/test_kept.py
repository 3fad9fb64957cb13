"""Samples that stay in memory once they have been read."""

from collections.abc import Callable

import pytest
from torch.utils.data import DataLoader

from hsengine.base import memory
from hsengine.base.memory import Cache
from hsengine.kept import Kept


class Samples:
    """Four samples of 10 bytes, whose items say how often their process has read."""

    def __init__(self, cache: Cache) -> None:
        self.kept = Kept[bytes](cache, 4, len)
        self.reads = 0

    def __len__(self) -> int:
        return 4

    def read(self) -> bytes:
        self.reads += 1
        return bytes(10)

    def __getitem__(self, index: int) -> int:
        self.kept.get(index, self.read)
        self.kept.get((index + 1) % 4, self.read)
        return self.reads


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give samples so many bytes."""
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    return lambda count: monkeypatch.setattr(memory, "installed", lambda: 8 * count)


def reads(cache: Cache) -> int:
    samples = Samples(cache)
    for _ in range(3):
        for index in range(4):
            samples.kept.get(index, samples.read)
    return samples.reads


@pytest.mark.parametrize(("cache", "count"), [("none", 12), ("memory", 4), ("device", 4)])
def test_kept_samples_are_read_once(cache: Cache, count: int, room: Callable[[int], None]) -> None:
    room(1)
    assert reads(cache) == count


@pytest.mark.parametrize(("bytes_of_room", "count"), [(40, 4), (39, 12)])
def test_auto_keeps_all_where_all_have_room(bytes_of_room: int, count: int, room: Callable[[int], None]) -> None:
    room(bytes_of_room)
    assert reads("auto") == count


def test_what_was_read_last_is_not_read_again() -> None:
    samples = Samples("none")
    assert [samples.kept.get(3, samples.read) for _ in range(3)] == [bytes(10)] * 3
    assert samples.reads == 1


def test_a_sample_that_cannot_be_read_is_asked_for_again() -> None:
    samples = Samples("memory")
    with pytest.raises(ZeroDivisionError):
        samples.kept.get(0, lambda: bytes(1 // 0))
    assert samples.kept.get(0, samples.read) == bytes(10)


@pytest.mark.parametrize(("bytes_of_room", "most"), [(80, 4), (79, 6)])
def test_readers_count_each_others_copies(bytes_of_room: int, most: int, room: Callable[[int], None]) -> None:
    """The first of two readers is asked for items 0, 2 and 0 again, of two samples each."""
    room(bytes_of_room)
    loader: DataLoader[int] = DataLoader(Samples("auto"), batch_size=None, sampler=[0, 1, 2, 3, 0, 1], num_workers=2)  # type: ignore[arg-type]
    assert max(loader) == most
