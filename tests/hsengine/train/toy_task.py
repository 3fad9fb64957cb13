"""A task that is not about cubes: points in the plane, two classes."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F

from hsengine.base.settings import Machine, Train
from hsengine.train import Group, Identity, Task, train
from hsengine.train.joint import Joint, JointSampler


class Points:
    """Points with the class of their side of a line; `noise` is a function of the key."""

    def __init__(self, count, seed, noise=0.0):
        self.values = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
        self.noise = noise
        self.ids = [f"point-{i:03d}" for i in range(count)]
        self.categories = [int(value[0] > 0) for value in self.values]

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        epoch, index, draw = key
        shift = torch.randn(2, generator=torch.Generator().manual_seed(epoch * 1000 + index * 10 + draw))
        point = self.values[index]
        return {"input": point + self.noise * shift, "target": int(point.sum() > 0), "index": index}


class Toy(Task):
    directions = {"loss": "min", "accuracy": "max", "margin": "max"}
    watch = "accuracy"
    advice = {"memory": "take a smaller toy"}

    def __init__(self, count=10, held_out=5, dropout=0.0, normalised=False, blocks=0):
        self.count, self.size, self.dropout, self.normalised, self.blocks = count, held_out, dropout, normalised, blocks

    def model(self):
        norm = [nn.Unflatten(1, (1, 2)), nn.BatchNorm1d(1), nn.Flatten()] if self.normalised else []
        blocks = nn.Sequential(*[nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(self.blocks)])
        return nn.Sequential(*norm, nn.Linear(2, 8), nn.Tanh(), blocks, nn.Dropout(self.dropout), nn.Linear(8, 2))

    def training(self):
        return Points(self.count, seed=1, noise=0.1)

    def held_out(self):
        return Points(self.size, seed=2)

    def losses(self, model, batch):
        loss = F.cross_entropy(model(batch["input"]), batch["target"], reduction="none")
        return loss, {"half": loss / 2}

    def measures(self, model, batch, *, full):
        scores = model(batch["input"])
        columns = {
            "loss": F.cross_entropy(scores, batch["target"], reduction="none"),
            "accuracy": (scores.argmax(1) == batch["target"]).float(),
        }
        if full:
            columns["margin"] = (scores[:, 1] - scores[:, 0]).abs()
        return [{name: float(values[i]) for name, values in columns.items()} for i in range(len(scores))]


class Learned(Toy):
    """The toy task with all that a task may add: two sets, a sampler, groups, a teacher, a bar that rises."""

    def model(self):
        made = super().model()
        self.teacher, self.bar = copy.deepcopy(made).eval(), 0.0
        return made

    def training(self):
        return Joint({"source": super().training(), "target": Points(5, seed=4, noise=0.1)})

    def sampler(self, ids, categories, *, seed, epochs, size):
        return JointSampler(self.training(), {"source": 2, "target": 1}, seed=seed, size=size)

    def groups(self, model):
        first, *others = model.parameters()
        return [Group([first], scale=0.5, weight_decay=0.1), Group(others)]

    def losses(self, model, batch):
        scores = model(batch["input"])
        loss = F.cross_entropy(scores, batch["target"], reduction="none")
        with torch.no_grad():
            taught = self.teacher(batch["input"]).softmax(1)
        apart = (scores.softmax(1) - taught).square().sum(1)
        return (loss - self.bar).abs() + apart * (1 + batch["domain"]), {"apart": apart}

    def updated(self, model):
        for mine, theirs in zip(self.teacher.state_dict().values(), model.state_dict().values(), strict=True):
            mine.copy_(torch.lerp(mine, theirs, 0.1) if mine.is_floating_point() else theirs)

    def epoch_ended(self, model, epoch, rows):
        self.bar = 0.1 * min(row["loss"] for row in rows) + 0.01 * float(torch.rand(()))

    def state_dict(self):
        return {"teacher": self.teacher.state_dict(), "bar": self.bar}

    def load_state_dict(self, state):
        self.teacher.load_state_dict(state["teacher"])
        self.bar = state["bar"]


# A training that uses all of it.
EVERYTHING = {
    "epochs": 4,
    "updates": 3,
    "accumulate": 2,
    "sampling": "task",
    "cycles": 2,
    "kept": "cycles",
    "snapshots": "files",
    "ema": 0.9,
    "ema_warmup": False,
    "optimizer": "SGD",
    "optimizer_options": {"momentum": 0.9, "nesterov": True},
    "measure_batch": 2,
    "state_minutes": 1e-9,
}


def settings(**changes):
    """A short training; what concerns the machine is for `machine`."""
    plain = {"epochs": 3, "batch_size": 4, "lr": 0.05, "score_every": 2, "clip_norm": None, "warmup_epochs": 0}
    return Train(**plain | {key: value for key, value in changes.items() if key not in Machine.model_fields})


def machine(**changes):
    """The settings among `changes` that concern the machine."""
    return Machine(**{key: value for key, value in changes.items() if key in Machine.model_fields})


def trained(folder, task=None, identity=None, said=None, **changes):
    """The result of a training whose files are all in `folder`; what it says goes to the list `said`."""
    given = settings(**changes)
    return train(
        task or Toy(),
        given,
        machine(**changes),
        seed=3,
        identity=identity or Identity(given.model_dump(), "code", "data"),
        curves=folder / "curves",
        states=folder / "runs",
        name="toy",
        say=(said if said is not None else []).append,
    )


def files(folder):
    """The content of all files below a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def same(left, right):
    """Whether two sets of weights are equal to the bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
