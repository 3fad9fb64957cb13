"""Kernel ridge applied to pixels, against the formula as it is written: distances, squares, exponentials, a product.

A batch of crops as training sees it, in float32, and a larger frame as prediction sees it, in float64. Both compute
some pixels at a time; the formula so many that its memory is bounded. They take turns, the least of the rounds counts.
"""

from __future__ import annotations

import torch
from models import least
from torch import Tensor

from hsmodels.zoo import kernel

CENTRES, BANDS, SIGMA, ROUNDS = 1000, 61, 0.45, 4
AT_ONCE = 2_000_000


def as_written(features: Tensor, centres: Tensor, coefficients: Tensor) -> Tensor:
    rows = max(AT_ONCE // (CENTRES * features.shape[-1]), 1)
    parts = []
    for part in features.split(rows, dim=2):
        distances = torch.cdist(part.movedim(1, -1).flatten(0, -2), centres)
        values = torch.exp(-0.5 * distances**2 / SIGMA**2)
        parts.append((values @ coefficients).unflatten(0, (len(features), -1, features.shape[-1])).movedim(-1, 1))
    return torch.cat(parts, dim=2)


def compare(name: str, images: int, size: int, *, exact: bool) -> None:
    features = kernel.surroundings(torch.rand(images, 3, size // 2, size // 2), 2)
    centres = features.movedim(1, -1).flatten(0, 2)[torch.randperm(images * size**2)[:CENTRES]]
    coefficients = torch.randn(CENTRES, BANDS)
    given = [values.to(torch.float64 if exact else torch.float32) for values in (features, centres, coefficients)]

    def ours() -> Tensor:
        return kernel.applied(features, centres, coefficients, SIGMA, exact=exact)

    plain, fast = least(lambda: as_written(*given), ours, rounds=ROUNDS)
    apart = (as_written(*given) - ours()).abs().max().item()
    print(f"{name:<32} as written {plain:6.3f} s, ours {fast:6.3f} s: ", end="")
    print(f"{plain / fast:.2f} x   (at most {apart:.0e} apart)")


def main() -> None:
    torch.manual_seed(0)
    print(f"{CENTRES} centres, {BANDS} bands, {torch.get_num_threads()} threads")
    compare("training, 4 x 128 x 128, float32", 4, 128, exact=False)
    compare("a frame, 512 x 512, float64", 1, 512, exact=True)


if __name__ == "__main__":
    main()
