import pytest
import torch
from torch import nn
from toy_task import Learned, Toy, same, settings, trained

from hsengine.base.errors import UserError
from hsengine.base.params import validated
from hsengine.base.settings import OPTIMIZERS, TrainingParams
from hsengine.train import Group, optimizers


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_torch_trains_by_its_name_in_any_case(name):
    weight = nn.Parameter(torch.ones(2, 2))
    before = weight.detach().clone()
    given = settings(optimizer=name.upper(), lr=0.1)
    made = optimizers.build(given, [Group([weight])], fused=False)
    for _ in range(2):
        weight.square().sum().backward()
        made.step()
    assert type(made).__name__.lower() == name
    assert not torch.equal(weight, before)


def test_an_optimizer_that_is_none_is_told_with_those_that_are():
    def given(name):
        validated(TrainingParams, {"train": {"optimizer": name}}, "params.yaml")

    with pytest.raises(UserError, match=r"train\.optimizer: 'Adamm' is not allowed: known are .*close: adam"):
        given("Adamm")
    with pytest.raises(UserError, match=r"train\.optimizer: 'LBFGS' .* computes the loss several times an update"):
        given("LBFGS")
    ours = {
        name.lower()
        for name, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
    }
    assert ours - set(OPTIMIZERS) == {"optimizer", "lbfgs", "sparseadam"}


def test_arguments_of_an_optimizer_are_handed_on(tmp_path):
    """Momentum by hand: the same weights."""
    changes = {"optimizer": "sgd", "optimizer_options": {"momentum": 0.5}, "schedule": "none", "batch_size": 10}
    result = trained(tmp_path, **changes)
    from hsengine.train import sampling
    from hsengine.train.task import seeded

    task = Toy()
    seeded(3)
    model, samples = task.model(), task.training()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    order = sampling.build("shuffle", samples.ids, samples.categories, seed=3, epochs=3)
    for epoch in range(3):
        items = [samples[epoch, index, draw] for index, draw in order.epoch(epoch)]
        optimizer.zero_grad()
        task.losses(model, torch.utils.data.default_collate(items))[0].mean().backward()
        optimizer.step()
    assert all(torch.allclose(result.last.weights[key], value, atol=1e-6) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "sgd", "optimizer_options": {"momentom": 1}}, r"optimizer_options\.momentom: .*close: momentum"),
        ({"optimizer_options": {"momentum": 0.9}}, r"optimizer_options\.momentum: adam has no such argument"),
        ({"optimizer_options": {"lr": 0.1}}, r"optimizer_options\.lr: train\.lr says that"),
        ({"optimizer": "sgd", "optimizer_options": {"momentum": -1}}, r"Invalid momentum value: -1"),
        ({"optimizer_options": {"betas": "high"}}, r"train\.optimizer: adam with .* cannot be used"),
        ({"optimizer": "rprop", "weight_decay": 0.1}, r"train\.weight_decay: rprop has none"),
        ({"optimizer_options": {"lookahead_k": 5}}, r"optimizer_options\.lookahead_k: adam has no such argument"),
        ({"optimizer": "lookahead_sgd", "optimizer_options": {"lookahead_k": 0}}, r"Invalid lookahead steps: 0"),
    ],
)
def test_what_an_optimizer_cannot_be_given_is_told_by_its_key(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        trained(tmp_path, epochs=1, **changes)


def test_groups_have_rates_and_decays_of_their_own(tmp_path):
    """Steps of plain descent on one batch are as many times as large as the scale says."""

    class Grouped(Toy):
        def __init__(self, scale, decay=None):
            super().__init__()
            self.scale, self.decay = scale, decay

        def groups(self, model):
            first, *others = model.parameters()
            return [Group([first], scale=self.scale, weight_decay=self.decay), Group(others)]

    changes = {"optimizer": "sgd", "epochs": 1, "batch_size": 10, "lr": 1e-2}
    start = trained(tmp_path / "s", Toy(), **changes | {"lr": 1e-20}).last.weights

    def moved(folder, task):
        weights = trained(tmp_path / folder, task, **changes).last.weights
        return {name: value - start[name] for name, value in weights.items()}

    whole, tenth = moved("a", Toy()), moved("b", Grouped(0.1))
    frozen, decayed = moved("c", Grouped(0.0)), moved("d", Grouped(1.0, 0.5))
    first, *others = whole
    assert torch.allclose(tenth[first], 0.1 * whole[first], rtol=1e-3, atol=1e-7)
    assert not frozen[first].any()
    assert torch.allclose(decayed[first], whole[first] - 1e-2 * 0.5 * start[first], rtol=1e-3, atol=1e-7)
    for name in others:
        assert torch.equal(whole[name], tenth[name])
        assert torch.equal(whole[name], frozen[name])


def test_lookahead_goes_half_the_way_every_few_updates():
    pytest.importorskip("timm")
    weight = nn.Parameter(torch.zeros(1))
    given = settings(optimizer="lookahead_SGD", lr=1.0, optimizer_options={"lookahead_k": 2})
    made = optimizers.build(given, [Group([weight])], fused=False)
    found = []
    for _ in range(4):
        weight.grad = torch.full((1,), -1.0)
        made.step()
        found.append(float(weight.detach()))
    # The slow weights begin where the first look ahead ends.
    assert found == [1.0, 2.0, 3.0, 3.0]


def test_lookahead_is_resumed_where_it_was(tmp_path):
    pytest.importorskip("timm")
    changes = {"optimizer": "lookahead_adamw", "optimizer_options": {"lookahead_k": 2}, "state_minutes": 1e-9}
    whole = trained(tmp_path / "whole", **changes)
    stopped = trained(tmp_path / "parts", max_minutes=1e-9, **changes)
    assert not same(stopped.last.weights, whole.last.weights)
    assert same(trained(tmp_path / "parts", **changes).last.weights, whole.last.weights)


def test_a_parameter_in_no_group_or_in_two_is_a_mistake_of_the_task(tmp_path):
    class Forgetful(Toy):
        def groups(self, model):
            return [Group(list(model.parameters())[1:])]

    class Doubled(Toy):
        def groups(self, model):
            return [Group(list(model.parameters())), Group(list(model.parameters())[:1])]

    class Frozen(Toy):
        def groups(self, model):
            return [Group(list(model.parameters()), scale=0.0)]

    with pytest.raises(ValueError, match=r"leaves out 0\.weight"):
        trained(tmp_path / "a", Forgetful())
    with pytest.raises(ValueError, match="into two groups"):
        trained(tmp_path / "b", Doubled())
    with pytest.raises(UserError, match="no parameter to train"):
        trained(tmp_path / "c", Frozen())


def test_every_group_follows_the_schedule():
    from hsengine.train.schedule import Schedule

    one, other = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    given = settings(lr=1.0, min_lr=0.01, epochs=10)
    made = optimizers.build(given, [Group([one], scale=0.5), Group([other])], fused=False)
    rate = Schedule(made, given).set(5, 1)
    assert rate == pytest.approx(0.505)
    assert [group["lr"] for group in made.param_groups] == [0.5 * rate, rate]


def test_a_tasks_own_state_decides_the_result(tmp_path):
    """The teacher that the toy task moves along is not the first model: what it learns is in its state."""
    task = Learned()
    trained(tmp_path, task, sampling="task")
    taught = {name: value.clone() for name, value in task.state_dict()["teacher"].items()}
    fresh = Learned()
    fresh.model()
    fresh.load_state_dict({"teacher": taught, "bar": task.bar})
    assert same(fresh.state_dict()["teacher"], taught)
    assert task.bar > 0
