"""A salt project that is trained in a second; the tests import it."""

import copy

from hstasks.salt import catalog, mosaic, split
from hstasks.salt.params import Params

SMALL = {
    "model": {"options": {"width": 4, "depth": 3, "blocks": 1, "presence": True}},
    "presence": 0.2,
    "train": {"epochs": 2, "batch_size": 8, "lr": 1e-2, "warmup_epochs": 0, "score_every": 2},
    "machine": {"workers": 1, "measure_batch": 8},
    "split": {"folds": 4},
    "evaluate": {"pictures": 2},
}


def small(**changes) -> Params:
    """Parameters of a network that is trained in a second, with sections changed key by key."""
    raw = copy.deepcopy(SMALL)
    for name, value in changes.items():
        raw[name] = {**raw.get(name, {}), **value} if isinstance(value, dict) and name in raw else value
    return Params.model_validate(raw)


def divided(params) -> None:
    """The data stages of the current folder."""
    for stage in (catalog, mosaic, split):
        stage.run(params)
