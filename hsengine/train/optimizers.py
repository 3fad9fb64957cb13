"""Any optimiser of `torch.optim`, by its name, with the task's parameter groups, and Lookahead around it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hsengine.base.errors import UserError
from hsengine.base.reading import reason
from hsengine.base.settings import LOOKAHEAD, Train
from hsengine.base.wording import close_matches
from hsengine.train.task import Group

# Arguments of Lookahead, by what train.optimizer_options calls them.
_AHEAD = {"lookahead_alpha": "alpha", "lookahead_k": "k"}
_FUSED = ("adam", "adamw", "sgd")
# Other parameters, or the engine itself, say these.
_SAID = {
    "lr": "train.lr",
    "weight_decay": "train.weight_decay",
    "params": "the task",
    "fused": "the engine",
    "capturable": "the engine",
    "differentiable": "the engine",
}


def check(settings: Train) -> None:
    """See that the optimiser takes such arguments.

    Raises:
        UserError: names the key and what is allowed.
    """
    name = settings.optimizer.lower()
    taken = _arguments(name.removeprefix(LOOKAHEAD)) | (_AHEAD.keys() if name.startswith(LOOKAHEAD) else set())
    for key in settings.optimizer_options:
        if key in _SAID:
            raise UserError(f"train.optimizer_options.{key}: {_SAID[key]} says that; take it out.")
        if key not in taken:
            allowed = sorted(taken - _SAID.keys())
            raise UserError(
                f"train.optimizer_options.{key}: {name} has no such argument; it takes {', '.join(allowed)}"
                f"{close_matches(key, allowed)}."
            )
    if settings.weight_decay and "weight_decay" not in taken:
        raise UserError(f"train.weight_decay: {name} has none; set it to 0, or choose another optimizer.")


def groups_of(groups: Sequence[Group], model: nn.Module) -> list[Group]:
    """The task's groups of a model, checked; those of scale 0 are taken out of the training.

    Args:
        groups: what `Task.groups` gave.
        model: whose parameters they hold; those that are frozen no longer want a gradient.

    Raises:
        ValueError: a parameter is in no group, or in two.
    """
    members = [id(parameter) for group in groups for parameter in group.parameters]
    if len(members) != len(set(members)):
        raise ValueError("Task.groups puts a parameter into two groups.")
    left_out = [name for name, value in model.named_parameters() if value.requires_grad and id(value) not in members]
    if left_out:
        raise ValueError(f"Task.groups leaves out {', '.join(left_out[:5])}: scale 0 is for what stays as it is.")
    for group in groups:
        for parameter in group.parameters:
            if group.scale == 0:
                parameter.requires_grad_(False)
    return [group for group in groups if group.scale and any(value.requires_grad for value in group.parameters)]


def build(settings: Train, groups: Sequence[Group], *, fused: bool) -> Optimizer:
    """The optimiser of `train.optimizer`.

    Args:
        settings: `optimizer`, `optimizer_options`, `lr` and `weight_decay` are read.
        groups: what is trained; each group keeps its `scale` for the schedule.
        fused: whether to use one kernel for all parameters, where the optimiser has one for GPUs.

    Raises:
        UserError: there is nothing to train, or the optimiser refuses an argument's value.
    """
    check(settings)
    if not groups:
        raise UserError("The model has no parameter to train: see which parts of it are frozen.")
    name = settings.optimizer.lower().removeprefix(LOOKAHEAD)
    made, taken = _class(name), _arguments(name)
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.optimizer_options.items()
    }
    ahead = {word: options.pop(key) for key, word in _AHEAD.items() if key in options}
    if "weight_decay" in taken:
        options["weight_decay"] = settings.weight_decay
    if fused and name in _FUSED and not options.get("foreach"):
        options["fused"] = True
    try:
        described = [_group(group, settings, decays="weight_decay" in taken) for group in groups]
        optimizer: Optimizer = made(described, lr=settings.lr, **options)
        return _ahead_of(optimizer, ahead) if settings.optimizer.lower().startswith(LOOKAHEAD) else optimizer
    except (TypeError, ValueError, RuntimeError) as error:
        told = f"{settings.optimizer} with train.optimizer_options {settings.optimizer_options}"
        raise UserError(f"train.optimizer: {told} cannot be used: {reason(error)}") from error


def _ahead_of(optimizer: Optimizer, options: Mapping[str, Any]) -> Optimizer:
    """Lookahead around an optimiser: every k updates the weights go the share alpha of the way that it went.

    Source: Zhang et al.: Lookahead Optimizer: k steps forward, 1 step back, NeurIPS 2019.
    """
    try:
        from timm.optim.lookahead import Lookahead
    except ImportError:
        raise UserError(
            f"train.optimizer: '{LOOKAHEAD}' needs timm: pip install -e '.[tasks]', or take it away."
        ) from None
    wrapped: Optimizer = Lookahead(optimizer, **options)  # type: ignore[no-untyped-call]
    return wrapped


def _group(group: Group, settings: Train, *, decays: bool) -> dict[str, Any]:
    """A parameter group as torch takes it; without anything of its own, it says nothing of its own."""
    trained = [parameter for parameter in group.parameters if parameter.requires_grad]
    made: dict[str, Any] = {"params": trained, "scale": group.scale, "lr": settings.lr * group.scale}
    if group.weight_decay is not None:
        if not decays:
            raise ValueError("a group of the task has a weight decay of its own, but the optimizer has none")
        made["weight_decay"] = group.weight_decay
    return made


def _class(name: str) -> Any:
    """The class of torch.optim of a name in any case."""
    return next(value for key, value in vars(torch.optim).items() if inspect.isclass(value) and key.lower() == name)


def _arguments(name: str) -> set[str]:
    return set(inspect.signature(_class(name)).parameters)
