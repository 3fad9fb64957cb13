import torch
from hypothesis import given
from hypothesis import strategies as st

from hsengine.train.batches import GlobalBatches, HeldOutBatches, loader


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.integers(0, 3))
def test_processes_share_out_each_global_batch_and_stay_in_step(count, size, world, skip):
    visits = [(index * 7 % count, index // 3) for index in range(count)]
    shares = [GlobalBatches(size, rank=rank, world=world) for rank in range(world)]
    for share in shares:
        share.begin(5, visits, skip=skip)
    assert len({len(list(share)) for share in shares}) == 1
    assert all(len(list(share)) == len(share) for share in shares)
    for step in range(shares[0].total):
        everyone = [(5, index, draw) for index, draw in visits[step * size : (step + 1) * size]]
        mine = [key for share in shares for key in share.mine(step)]
        assert sorted(mine) == sorted(everyone)
        assert shares[0].mine(step)[0] == everyone[0]


def test_a_process_without_a_sample_gets_one_that_does_not_count():
    share = GlobalBatches(4, rank=3, world=4)
    share.begin(0, [(index, 0) for index in range(6)])
    assert [share.mine(step) for step in range(2)] == [[(0, 3, 0)], []]
    assert list(share) == [[(0, 3, 0)], [(0, 4, 0)]]


@given(st.integers(0, 20), st.integers(1, 4), st.integers(1, 5))
def test_each_held_out_sample_is_measured_by_one_process_in_the_same_company(count, size, world):
    shares = [HeldOutBatches(count, size, rank=rank, world=world) for rank in range(world)]
    batches = sorted([key[1] for key in batch] for share in shares for batch in share)
    assert batches == [[key[1] for key in batch] for batch in HeldOutBatches(count, size)]
    assert sorted(index for batch in batches for index in batch) == list(range(count))
    assert all(len(list(share)) == len(share) <= share.rounds for share in shares)
    assert len(shares[0]) == shares[0].rounds


def test_samples_of_different_sizes_in_one_batch_come_in_parts_of_one_size():
    class Ragged:
        def __len__(self):
            return 4

        def __getitem__(self, key):
            return {"input": torch.zeros(1, 2 + key[1] % 2), "index": key[1]}

    batches = GlobalBatches(4)
    batches.begin(0, [(index, 0) for index in (0, 1, 3, 2)])
    (parts,) = loader(Ragged(), batches, workers=0, pin=False)
    assert [part.places for part in parts] == [[0, 3], [1, 2]]
    assert [part.batch["index"].tolist() for part in parts] == [[0, 2], [1, 3]]
    assert [tuple(part.batch["input"].shape) for part in parts] == [(2, 1, 2), (2, 1, 3)]
