"""A project about nothing: points in the plane, two classes."""

import torch
from torch import nn
from torch.nn import functional as F

from hsengine.base.errors import UserError
from hsengine.base.settings import TrainingParams
from hsengine.project import Project, Work
from hsengine.train import Task


class Points:
    def __init__(self, count, seed):
        self.values = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        point = self.values[key[1]]
        return {"input": point, "target": int(point.sum() > 0)}


class Sides(Task):
    def model(self):
        return nn.Linear(2, 2)

    def training(self):
        return Points(9, seed=1)

    def held_out(self):
        return Points(5, seed=2)

    def losses(self, model, batch):
        return F.cross_entropy(model(batch["input"]), batch["target"], reduction="none"), {}


class Params(TrainingParams):
    sides: int = 2


def prepare(params):
    if params.sides != 2:
        raise UserError("sides: points have two.")
    record = {"model": {"name": "line", "params": {}}, "title": "a line"}
    return Work(Sides(), {"sides": params.sides}, "points, seeds 1 and 2", (9, 5), record)


PROJECT = Project(
    name="toy",
    place="toy_project:PROJECT",
    program="toy",
    schema=Params,
    measure="loss",
    direction="min",
    prepare=prepare,
    entries=("hsengine.train.run",),
    packages=("torch",),
)
