import pickle

import pytest
import torch

from hsdata import catalog as catalogs
from hsdata import paths
from hsdata.batches.dataset import CubeDataset
from hsdata.params import Augment
from hsengine.base.errors import UserError
from hsmodels import testing
from hsmodels.heldout import division
from hsmodels.resident import ResidentSamples


@pytest.mark.parametrize("track", [1, 2])
@pytest.mark.parametrize("changed", [False, True])
def test_items_are_those_of_the_dataset_that_reads_files(tmp_path, monkeypatch, track, changed):
    monkeypatch.chdir(tmp_path)
    testing.project(track)
    rows = division(catalogs.load(paths.CATALOG))[0]
    for crop in (None, 8):
        changes = {"light": 0.3, "mix": 0.8, "materials": 0.5} if changed else {}
        chosen = {"track": track, "augment": Augment(crop=crop, noise=0.1, jitter=0.1, **changes), "seed": 5}
        files = CubeDataset(rows, **chosen)
        resident = pickle.loads(pickle.dumps(ResidentSamples(rows, device=torch.device("cpu"), **chosen)))
        assert (resident.ids, resident.categories, len(resident)) == (files.ids, files.categories, len(files))
        for epoch in range(8):
            for index in range(len(files)):
                expected, item = files[epoch, index, 1], resident[epoch, index, 1]
                assert item.keys() == expected.keys()
                for name, value in expected.items():
                    assert torch.equal(torch.as_tensor(item[name]), torch.as_tensor(value)), name


def test_cubes_that_do_not_fit_on_the_gpu_are_told_so(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    testing.project(2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    samples = ResidentSamples(division(catalogs.load(paths.CATALOG))[0], device=torch.device("cuda"), track=2)
    with pytest.raises(UserError, match=r"machine\.cache: the 3 hsi_61 need about"):
        samples[0, 0, 0]
