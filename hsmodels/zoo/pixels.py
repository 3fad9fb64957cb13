"""What closed-form models with kernels share: a bounded sample of training pixels, and Gaussian kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

AT_ONCE = 1_000_000
"""Kernel values in memory at once: as many as the cache holds."""

GPU_AT_ONCE = 1 << 26
"""The same on a GPU: as many as keep it busy."""

KEPT = 500_000
"""Training pixels in memory at most, half a kilobyte each and more."""

UNUSED = 1e3
"""Where centres lie that no training pixel fills: far from everything."""

Pair = tuple[Tensor, Tensor]
"""An input (B, 3, H, W) in [0, 1] and cubes (B, bands, r·H, r·W)."""


class Sampled:
    """Some pixels of each image, which depend on the images' number and sizes alone.

    Args:
        describe: from an input (1, 3, H, W), a cube (bands, r·H, r·W) and places of pixels (n,) to tables of n rows.
        share: pixels of each image at most; less where there are very many images.
        generator: of the choice.
    """

    def __init__(
        self,
        describe: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]],
        share: int,
        generator: torch.Generator,
    ) -> None:
        self._describe, self._share, self._generator = describe, share, generator
        self._kept: list[tuple[Tensor, ...]] = []

    def watching(self, batches: Iterable[Pair]) -> Iterator[Pair]:
        """The batches as they are, while pixels of them are kept."""
        for rgb, cube in batches:
            for image, truth in zip(rgb.float(), cube, strict=True):
                count = truth.shape[-2] * truth.shape[-1]
                chosen = torch.randperm(count, generator=self._generator)[: self._share].sort().values
                self._kept.append(self._describe(image[None], truth, chosen.to(image.device)))
                if sum(len(rows) for rows, *_ in self._kept) > KEPT:
                    # Each pixel stands for as many others as before, in half the memory.
                    self._kept = [tuple(part[::2] for part in parts) for parts in self._kept]
                    self._share = -(-self._share // 2)
            yield rgb, cube

    def tables(self) -> list[Tensor]:
        """The tables of all kept pixels, image after image; nothing is kept afterwards."""
        tables = [torch.cat(parts) for parts in zip(*self._kept, strict=True)]
        self._kept.clear()
        return tables


def gaussian(first: Tensor, second: Tensor, sigma: float) -> Tensor:
    """Kernel values (n, m) of width `sigma` of descriptions (n, d) and (m, d).

    The exponents are one matrix product: s |a - b|² = (a, |a|², 1) · (-2s b, s, s |b|²).
    """
    scale = -0.5 / sigma**2
    left = torch.cat([first, first.square().sum(dim=1, keepdim=True), first.new_ones(len(first), 1)], dim=1)
    constant = second.new_full((len(second), 1), scale)
    right = torch.cat([-2.0 * scale * second, constant, scale * second.square().sum(dim=1, keepdim=True)], dim=1)
    return (left @ right.T).exp_()


def chosen_rows(parts: Iterable[Tensor], chosen: Tensor) -> tuple[Tensor, ...]:
    """Of images (d, ...) the pixels at flat places (n,), as tables (n, d) on the CPU."""
    return tuple(part.flatten(1)[:, chosen].T.contiguous().cpu() for part in parts)
