"""Several losses together, by name and weight."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.base.wording import close_matches
from hstasks.losses import binary, multiclass, regression, soft

Kind = Literal["binary", "multiclass", "regression"]

KINDS: Mapping[str, Mapping[str, Callable[..., Tensor]]] = {
    "binary": {
        "bce": binary.bce,
        "dice": binary.dice,
        "bce_dice": binary.bce_dice,
        "focal": binary.focal,
        "lovasz_hinge": binary.lovasz_hinge,
        "lovasz_symmetric": binary.lovasz_symmetric,
        "lovasz_elu": binary.lovasz_elu,
    },
    "multiclass": {
        "cross_entropy": multiclass.cross_entropy,
        "dice": multiclass.multiclass_dice,
        "focal": multiclass.multiclass_focal,
        "ohem": multiclass.ohem,
        "lovasz_softmax": multiclass.lovasz_softmax,
        "set_label": soft.set_label,
    },
    "regression": {
        "l1": regression.l1,
        "squared": regression.squared,
        "huber": regression.huber,
        "quantile": regression.quantile,
        "focal": regression.focal_regression,
        "gaussian_nll": regression.gaussian_nll,
        "weighted_r2": regression.weighted_r2_loss,
    },
}
"""The losses of each kind of truth, by the names that `params.yaml` uses."""

_GIVEN = {"each", "valid", "ignore", "log_var"}


class Loss(nn.Module):
    """Σ weight · loss, for each image of a batch.

    Args:
        kind: which table of `KINDS` the names are of.
        weights: name → weight, of at least 0, one of them above 0.
        options: name → further arguments of that loss, such as {"focal": {"gamma": 1.5}}.
        ignore: the label that is no class, for kind "multiclass".

    Raises:
        UserError: a name, weight or option that there is not; all weights are 0.
    """

    def __init__(
        self,
        kind: Kind,
        weights: Mapping[str, float],
        options: Mapping[str, Mapping[str, Any]] | None = None,
        ignore: int | None = None,
    ):
        super().__init__()
        table = KINDS[kind]
        options = options or {}
        for name in [*weights, *options]:
            if name not in table:
                raise UserError(
                    f"There is no {kind} loss '{name}'{close_matches(name, table)}. They are: {', '.join(table)}."
                )
        for name, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise UserError(f"The loss '{name}' has weight {weight}: give a number of at least 0.")
        self.kind = kind
        self.weights = {name: float(weight) for name, weight in weights.items() if weight > 0}
        if not self.weights:
            raise UserError(f"No {kind} loss has a weight above 0: give one to at least one of {', '.join(table)}.")
        for name, given in options.items():
            allowed = [key for key, value in inspect.signature(table[name]).parameters.items() if _is_option(value)]
            for key in given:
                if key not in allowed:
                    raise UserError(
                        f"The loss '{name}' has no option '{key}'{close_matches(key, allowed)}. "
                        f"It has: {', '.join(allowed) or 'none'}."
                    )
        self.options = {name: dict(given) for name, given in options.items()}
        self.ignore = ignore

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        valid: Tensor | None = None,
        *,
        log_var: Tensor | None = None,
        possible: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each image, (B,), and each part of it by name, without its weight.

        Args:
            prediction: logits, or values (B, T).
            target: as the functions of the kind take it.
            valid: where the truth counts, for masks.
            log_var: (B, T), for "gaussian_nll".
            possible: (B, C, H, W), for "set_label".

        Raises:
            UserError: the shapes do not fit, or a loss lacks what it needs.
        """
        parts = {name: self._part(name, prediction, target, valid, log_var, possible) for name in self.weights}
        total = torch.stack([self.weights[name] * part for name, part in parts.items()]).sum(dim=0)
        return total, parts

    def _part(
        self,
        name: str,
        prediction: Tensor,
        target: Tensor,
        valid: Tensor | None,
        log_var: Tensor | None,
        possible: Tensor | None,
    ) -> Tensor:
        call, options = KINDS[self.kind][name], self.options.get(name, {})
        if self.kind == "regression":
            if name == "gaussian_nll":
                if log_var is None:
                    raise UserError("The loss 'gaussian_nll' needs a model that predicts variances: choose such a one.")
                options = {**options, "log_var": log_var}
            return call(prediction, target, each=True, **options)
        if name == "set_label":
            if possible is None:
                raise UserError(
                    "The loss 'set_label' needs the sets of possible classes: give a set-valued relabelling."
                )
            return call(prediction, possible, valid, each=True, **options)
        if self.kind == "multiclass":
            options = {"ignore": self.ignore, **options}
        return call(prediction, target, valid, each=True, **options)


class Supervision(nn.Module):
    """A loss of masks, with what a network says besides its logits.

    The loss of each image is loss(logits) + auxiliary · mean loss of the auxiliary logits + presence · BCE of the
    presence head. Of a binary mask the auxiliary losses count on images that are not empty only, since whether
    there is anything is the presence head's question.

    Args:
        loss: of kind "binary" or "multiclass".
        auxiliary: weight of the auxiliary logits; 0 leaves them out.
        presence: weight of the presence head; 0 leaves it out.
    """

    def __init__(self, loss: Loss, auxiliary: float = 0.0, presence: float = 0.0):
        super().__init__()
        self.loss = loss
        self.auxiliary = auxiliary
        self.presence = presence

    def forward(self, output: Any, target: Tensor, valid: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each image, (B,), and its parts by name.

        Args:
            output: a `hstasks.networks.Output`, of logits (B, C, H, W).
            target: (B, H, W), 0 and 1 or class numbers.
            valid: (B, H, W) bool; None for everywhere.
        """
        total, parts = self._masks(output.logits, target, valid)
        filled = target > 0 if valid is None else (target > 0) & valid
        present = filled.flatten(1).any(dim=1)
        if self.auxiliary and output.auxiliary:
            sides = torch.stack([self._masks(side, target, valid)[0] for side in output.auxiliary]).mean(dim=0)
            if self.loss.kind == "binary":
                sides = torch.where(present, sides, 0.0)
            parts["auxiliary"] = sides
            total = total + self.auxiliary * sides
        if self.presence and output.presence is not None:
            parts["presence"] = binary.bce(output.presence, present, each=True)
            total = total + self.presence * parts["presence"]
        return total, parts

    def _masks(self, logits: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        result: tuple[Tensor, dict[str, Tensor]] = self.loss(
            logits[:, 0] if self.loss.kind == "binary" else logits, target, valid
        )
        return result


def _is_option(parameter: inspect.Parameter) -> bool:
    return parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name not in _GIVEN
