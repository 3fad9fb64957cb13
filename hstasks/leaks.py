"""What a split that leaks flatters: the same network taught by two splits, and measured on the same samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from hsengine.base.settings import Train
from hsengine.evaluate import shown
from hsengine.values import Value


@dataclass(frozen=True)
class Row:
    """One way to split, over the draws.

    Attributes:
        strategy: its name.
        count: how many samples are learned from.
        shared: the share of what is measured that training shows, mean over the draws.
        scores: of each draw; None where there is none.
    """

    strategy: str
    count: int
    shared: float
    scores: list[float | None]


@dataclass(frozen=True)
class Summary:
    """What the leaking split (the first row) and the sound one say of the same model, and on how many samples."""

    rows: list[Row]
    measured: int

    unit: ClassVar[str] = "samples"
    sharing: ClassVar[str] = "shared"
    measure: ClassVar[str] = "score"

    @property
    def difference(self) -> Value | None:
        """What the leaking split says beyond the sound one, draw by draw."""
        pairs = zip(*(row.scores for row in self.rows), strict=True)
        return Value.of([one - other for one, other in pairs if one is not None and other is not None])

    def __str__(self) -> str:
        lines = [f"{'split':10}{f'training {self.unit}':>16}{self.sharing:>16}{self.measure:>20}  by draw"]
        for row in self.rows:
            mean = Value.of([score for score in row.scores if score is not None])
            each = " ".join(shown(score) for score in row.scores)
            lines.append(f"{row.strategy:10}{row.count:>16}{row.shared:>16.1%}{mean or 'undefined'!s:>20}  {each}")
        found = self.difference
        if found is not None:
            told = "" if found.n < 2 else ", told from zero" if found.is_told_from_zero else ", not told from zero"
            lines.append(
                f"The {self.rows[0].strategy} split says {found.mean:+.4f} more (± {found.spread or 0.0:.4f} over "
                f"draws{told})."
            )
        what = f"Measured on the same {self.measured} {self.unit}"
        return "\n".join([*lines, f"{what}, with the same network, updates and first weights."])


class Samples(Protocol):
    """What is learned from: items that can be collated, by (epoch, index, draw)."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: tuple[int, int, int]) -> Mapping[str, Any]: ...


class Brief(Protocol):
    """The section `leak` of a challenge's parameters."""

    @property
    def updates(self) -> int:
        """Of each training."""

    @property
    def lr(self) -> float:
        """The first learning rate."""


def taught(
    model: nn.Module,
    loss: Callable[[Mapping[str, Any]], Tensor],
    samples: Samples,
    brief: Brief,
    train: Train,
    *,
    seed: int,
    step: Callable[[], object],
) -> nn.Module:
    """Teach a network for so many updates; the learning rate falls to 0.

    Args:
        model: is changed.
        loss: of a batch, (B,).
        samples: drawn with replacement.
        brief: how many updates, and the first learning rate.
        train: samples of an update, and the weight decay of AdamW.
        seed: of the draws.
        step: is called after each update.

    Returns:
        The network in evaluation mode.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=brief.lr, weight_decay=train.weight_decay)
    random = np.random.Generator(np.random.PCG64([seed, 1]))
    for update in range(brief.updates):
        for group in optimizer.param_groups:
            group["lr"] = brief.lr * (1.0 - update / brief.updates)
        chosen = random.integers(len(samples), size=train.batch_size).tolist()
        value = loss(default_collate([samples[update, index, place] for place, index in enumerate(chosen)])).mean()
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step()
    return model.eval()
