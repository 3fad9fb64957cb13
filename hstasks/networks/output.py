"""What a network of masks says."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """A batch's masks, and what helps to train them.

    Attributes:
        logits: (B, C, H, W), of the input's size; C is 1 for binary masks.
        auxiliary: more logits of that shape, of the decoder's coarser levels (deep supervision).
        presence: (B,) logits of whether there is anything in the image; None without such a head.
    """

    logits: Tensor
    auxiliary: tuple[Tensor, ...] = ()
    presence: Tensor | None = None
