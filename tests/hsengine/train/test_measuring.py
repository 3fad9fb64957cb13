import numpy as np
import pytest
import torch
from toy_task import Points, Toy, files, trained


class Shown(Toy):
    """Notes how many samples it measures at once; has a picture of each."""

    def __init__(self, ragged=False, **options):
        super().__init__(**options)
        self.ragged, self.sizes = ragged, []

    def held_out(self):
        ragged = self.ragged

        class Padded(Points):
            def __getitem__(self, key):
                return super().__getitem__(key) | {"padding": torch.zeros(key[1] % 2 if ragged else 0)}

        return Padded(self.size, seed=2)

    def measures(self, model, batch, *, full):
        self.sizes.append(len(batch["target"]))
        return super().measures(model, batch, full=full)

    def pictures(self, model, batch):
        (index,) = batch["index"].tolist()
        return {"point": np.full((4, 6, 3), index, dtype=np.uint8)}


@pytest.mark.parametrize(("ragged", "sizes"), [(False, [4, 1]), (True, [2, 2, 1])])
def test_held_out_samples_are_measured_in_batches_of_one_size(tmp_path, ragged, sizes):
    single, batched = Shown(ragged), Shown(ragged)
    one = trained(tmp_path / "one", single, epochs=2, pictures=3)
    several = trained(tmp_path / "several", batched, epochs=2, pictures=3, measure_batch=4)
    assert single.sizes == [1] * 10
    assert batched.sizes == sizes * 2
    for mine, other in zip(one.history, several.history, strict=True):
        assert mine == pytest.approx(other)
    shown = [
        {name: data for name, data in files(tmp_path / folder / "curves").items() if name.endswith(".png")}
        for folder in ("one", "several")
    ]
    assert len(shown[0]) == 3
    assert shown[0] == shown[1]
