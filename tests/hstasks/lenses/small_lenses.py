"""A challenge of a few objects and a network that is trained in a moment."""

from hstasks.lenses import catalog, convert, split
from hstasks.lenses.params import Params


def small(**changes):
    """Parameters of a tiny training; sections of `changes` are merged."""
    content = {
        "data": {"root": "data"},
        "split": {"val": 0.3, "test": 0.3},
        "models": {"cnn_small": {"widths": [4, 8], "depth": 1}},
        "train": {"epochs": 2, "batch_size": 8, "lr": 1e-2, "sampling": "task", "watch": "loss"},
        "machine": {"workers": 1, "measure_batch": 16},
        "evaluate": {"resamples": 5},
    }
    for name, value in changes.items():
        known = content.get(name)
        content[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return Params.model_validate(content)


def prepared(params):
    """The data stages."""
    catalog.run(params, workers=1)
    convert.run(params, workers=1)
    split.run(params)
    return params


APART = {
    "input": {"bands": "gi", "together": False},
    "preprocess": {"kind": "published"},
    "predict": {"d4": False},
}
"""Each band a sample, as published."""
