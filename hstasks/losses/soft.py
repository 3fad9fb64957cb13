"""Losses of truths that are no single class: a teacher's probabilities, or a set of possible classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hsengine.base.errors import UserError
from hstasks.losses.rows import full_precision, mean_over

ROW_TOLERANCE = 1e-4
"""How far the sum of a row of a class map may be from 1."""


def distillation(
    student: Tensor,
    teacher: Tensor,
    mapping: Tensor | Sequence[Sequence[float]],
    temperature: float,
    valid: Tensor | None = None,
    *,
    foreground: bool = False,
    each: bool = False,
) -> Tensor:
    """T² times the mean over valid pixels of KL(q, p), q = softmax(teacher / T) · M, p = softmax(student / T).

    Source: Hinton, Vinyals, Dean: Distilling the knowledge in a neural network, 2015.

    Args:
        student: (B, C, ...) logits.
        teacher: (B, K, ...) logits; no gradient flows into them.
        mapping: (K, C), how each of the teacher's classes is shared among the student's; rows sum to 1.
        temperature: T, positive.
        valid: (B, ...) bool; None for everywhere.
        foreground: renormalise p and q over the classes 1 to C - 1 first.
        each: True for the loss of each image, (B,); False pools the valid pixels of the batch.

    Raises:
        UserError: shapes that do not fit, a row of the map that does not sum to 1 or has a negative entry, or a
            temperature that is not positive.
    """
    shares = torch.as_tensor(mapping, dtype=torch.float64)
    _check_mapping(shares, teacher.shape[1], student.shape[1])
    if not temperature > 0:
        raise UserError(f"The temperature of the distillation is {temperature}: give a number above 0.")
    if student.shape[0] != teacher.shape[0] or student.shape[2:] != teacher.shape[2:]:
        raise UserError(
            f"The student's logits have shape {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}: "
            "batch and size must agree. Feed both the same picture."
        )
    with torch.autocast(student.device.type, enabled=False):
        learner = (full_precision(student) / temperature).flatten(2)
        told = (full_precision(teacher.detach()) / temperature).flatten(2).softmax(dim=1).to(learner.dtype)
        q = torch.einsum("bkn,kc->bcn", told, shares.to(learner))
        log = learner.log_softmax(dim=1)
        if foreground:
            log = learner[:, 1:].log_softmax(dim=1)
            q = q[:, 1:] / q[:, 1:].sum(dim=1, keepdim=True).clamp_min(torch.finfo(q.dtype).tiny)
        divergence = (torch.special.xlogy(q, q) - q * log).sum(dim=1) * temperature**2
    return _averaged(divergence, valid, each)


def set_label(logits: Tensor, possible: Tensor, valid: Tensor | None = None, *, each: bool = False) -> Tensor:
    """Mean over valid pixels of -ln Σ_{c in S} p_c, where S are the classes that a pixel may have.

    Args:
        logits: (B, C, ...).
        possible: (B, C, ...) bool, see `possible_classes`; a pixel without a possible class does not count.
        valid: (B, ...) bool; None for everywhere.
        each: True for the loss of each image, (B,).

    Raises:
        UserError: the shapes differ.
    """
    if logits.shape != possible.shape:
        raise UserError(
            f"The possible classes have shape {tuple(possible.shape)}, the logits {tuple(logits.shape)}: "
            "they need the same."
        )
    allowed = possible.bool().flatten(2)
    counts = allowed.any(dim=1)
    if valid is not None:
        counts = counts & valid.bool().flatten(1)
    with torch.autocast(logits.device.type, enabled=False):
        log = full_precision(logits).flatten(2).log_softmax(dim=1)
        # A pixel without a set gets a full one, so that no infinity enters the gradient.
        within = log.masked_fill(~(allowed | ~counts[:, None]), -torch.inf)
        losses = -within.logsumexp(dim=1)
    return _averaged(losses, counts, each)


def possible_classes(labels: Tensor, sets: Mapping[int, Sequence[int]], classes: int) -> Tensor:
    """Which classes each pixel may have, by its label in another legend.

    Args:
        labels: (B, H, W) integer.
        sets: label → the classes it may be; a label that is not named has none, and is left out of the loss.
        classes: C.

    Returns:
        (B, C, H, W) bool.

    Raises:
        UserError: a set names a class outside 0 to C - 1.
    """
    possible = torch.zeros((len(labels), classes, *labels.shape[1:]), dtype=torch.bool, device=labels.device)
    for label, members in sets.items():
        for number in members:
            if not 0 <= number < classes:
                raise UserError(f"Label {label} may be class {number}, but the classes are 0 to {classes - 1}.")
            possible[:, number] |= labels == label
    return possible


def _averaged(values: Tensor, valid: Tensor | None, each: bool) -> Tensor:
    rows = values.reshape(len(values), -1)
    if valid is None:
        return mean_over(rows, None) if each else rows.mean()
    counts = valid.bool().reshape(len(valid), -1)
    if counts.shape != rows.shape:
        raise UserError(
            f"The validity mask of shape {tuple(valid.shape)} does not fit the logits: it needs their batch and size."
        )
    return mean_over(rows, counts) if each else mean_over(rows.reshape(1, -1), counts.reshape(1, -1))[0]


def _check_mapping(shares: Tensor, told: int, learned: int) -> None:
    if tuple(shares.shape) != (told, learned):
        raise UserError(
            f"The class map has shape {tuple(shares.shape)}; the teacher has {told} classes and the student {learned}: "
            f"it needs ({told}, {learned}), a row for each of the teacher's classes."
        )
    sums = shares.sum(dim=1)
    for row, total in enumerate(sums.tolist()):
        if not abs(total - 1.0) <= ROW_TOLERANCE or bool((shares[row] < 0).any()):
            raise UserError(
                f"Row {row} of the class map is {shares[row].tolist()}, with sum {total:g}: each row must hold shares "
                "of at least 0 that sum to 1."
            )
