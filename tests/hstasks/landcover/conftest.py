"""Small made-up landscapes, and a project with models of two stages, that tests may spoil."""

import shutil
from pathlib import Path

import pytest
import torch

from hstasks.landcover import catalog, relabel, replicate, sample, split, train
from hstasks.landcover.params import Params

SITES = {"hill-side": (144, 528), "vale": (144, 144)}


def parameters(**changes) -> Params:
    raw = {
        "data": {"white": 0.35},
        "split": {"fold": 2, "test_sites": ["vale"]},
        "model": {"options": {"width": 4, "depth": 2, "blocks": 1}},
        "crops": {"size": 48},
        "train": {"epochs": 1, "updates": 2, "batch_size": 4, "sampling": "task", "lr": 0.01, "warmup_epochs": 0},
        "machine": {"loader_workers": 0, "measure_batch": 8},
        "stages": {
            "baseline": {},
            "replication": {"like": "baseline", "set": {"replicas.copies": 1}},
            "difficulty": {
                "like": "replication",
                "set": {"draws.kind": "difficulty", "draws.model": "outputs/stages/baseline/model"},
            },
            "crops": {"like": "difficulty", "set": {"crops.rule": "meant"}},
            "oem_pretrain": {"like": "baseline", "set": {"oem.share": 0.5}},
            "finetune": {"like": "crops", "set": {"train.start": "outputs/stages/baseline/model"}},
            "teacher": {"like": "baseline", "set": {"learns": "oem"}},
            "distillation": {"like": "baseline", "set": {"distillation.teacher": "outputs/stages/teacher/model"}},
        },
        "stage": "baseline",
    }
    for key, value in changes.items():
        raw[key] = {**raw[key], **value} if isinstance(value, dict) and key in raw else value
    return Params.model_validate(raw)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A project with its derived data, a baseline and a teacher."""
    folder = tmp_path_factory.mktemp("landcover")
    sample.make(folder / "data", seed=1, sites=SITES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HYPEROBJECT_STATE", str(folder / "state"))
        torch.set_num_threads(1)
        params = parameters()
        for stage in (catalog, split, replicate, relabel):
            stage.run(params)
        train.run(params)
        train.run(params, stage="teacher")
    return folder


@pytest.fixture
def project(trained, tmp_path, monkeypatch) -> Path:
    """The current folder: a copy of that project."""
    shutil.copytree(trained, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"
