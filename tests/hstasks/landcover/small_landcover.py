"""A land cover project whose stages train in a second; the tests import it."""

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
