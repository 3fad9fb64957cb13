"""A biomass project that trains in a moment; the tests import it."""

SMALL = {
    "challenge": "biomass",
    "backbone": "test_resnet",
    "machine": {"workers": 1, "loader_workers": 0, "measure_batch": 8},
    "split": {"folds": 3},
    "model": {"weights": "random", "hidden": 8},
    "input": {"views": "halves", "size": 32},
    "train": {"epochs": 1, "batch_size": 8, "optimizer": "adamw", "score_every": 1},
}
