"""A low-rank prior: spectra that a network weighs, instead of giving each band by itself."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsmodels.zoo.tracing import full_precision

# Rows of pixels that are in double precision at once while fitting.
_STRIP = 64
# Of the largest component's spread: what no component's is below, so that each can be told apart from none.
_LEAST = 1e-3


class Basis(nn.Module):
    """The mean of training spectra and their principal components; I. Jolliffe, Principal Component Analysis, 2002.

    Args:
        bands: bands of the cubes.
        rank: how many components, at most `bands`.

    Attributes:
        mean: (bands,) reflectance.
        spectra: (rank, bands), orthonormal; the entry of largest magnitude of each is positive.
        scale: (rank,) the components' standard deviations over the pixels, in reflectance.
        error: root mean square of what the components leave over, relative to that of the spectra themselves.
    """

    mean: Tensor
    spectra: Tensor
    scale: Tensor
    error: Tensor

    def __init__(self, bands: int, rank: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("spectra", torch.eye(rank, bands))
        self.register_buffer("scale", torch.ones(rank))
        self.register_buffer("error", torch.zeros(()))

    def forward(self, coefficients: Tensor) -> Tensor:
        """Components in units of their spread, (B, rank, H, W) → (B, bands, H, W), without the mean."""
        weights = (self.spectra * self.scale[:, None]).T
        with full_precision(coefficients.device.type):
            return F.conv2d(coefficients.to(weights.dtype), weights[:, :, None, None])

    def coefficients(self, cube: Tensor) -> Tensor:
        """What `forward` must be given for the nearest to a cube that the mean and it can make.

        (B, bands, H, W) → (B, rank, H, W).
        """
        weights = self.spectra / self.scale[:, None]
        return F.conv2d(cube - self.mean[:, None, None], weights[:, :, None, None])

    @torch.no_grad()
    def fit(self, cubes: Iterable[Tensor]) -> None:
        """Learn the spectra in one pass; in memory are a strip of a cube and (bands, bands) numbers.

        Args:
            cubes: (B, bands, H, W) each.
        """
        bands = len(self.mean)
        total = torch.zeros(bands, dtype=torch.float64)
        products = torch.zeros(bands, bands, dtype=torch.float64)
        count = 0
        for cube in cubes:
            for strip in torch.split(cube, _STRIP, dim=2):
                flat = strip.transpose(0, 1).reshape(bands, -1).double()
                total += flat.sum(1).cpu()
                products += (flat @ flat.T).cpu()
                count += flat.shape[1]
        mean = total / count
        variances, vectors = torch.linalg.eigh(products / count - mean[:, None] * mean)
        variances, spectra = variances.flip(0).clamp_min(0.0), vectors.flip(1).T
        largest = spectra.gather(1, spectra.abs().argmax(1, keepdim=True))
        rank = len(self.scale)
        spread = variances[:rank].sqrt()
        self.mean.copy_(mean)
        self.spectra.copy_((spectra * largest.sign())[:rank])
        # Where all pixels have one spectrum, any scale will do.
        self.scale.copy_(spread.clamp_min(_LEAST * float(spread[0])) if float(spread[0]) > 0.0 else torch.ones(rank))
        power = products.trace() / count
        self.error.copy_((variances[rank:].sum() / power.clamp_min(1e-30)).sqrt())


class OnBasis(nn.Module):
    """The mean spectrum and what a network makes of a basis.

    Args:
        net: from a track's batch to components (B, rank, H, W).
        basis: of the training's spectra.
    """

    def __init__(self, net: nn.Module, basis: Basis):
        super().__init__()
        self.net, self.basis = net, basis

    def forward(self, batch: Tensor) -> Tensor:
        """A track's batch → (B, bands, H, W)."""
        cube: Tensor = self.basis.mean[:, None, None] + self.basis(self.net(batch))
        return cube


def basis_of(model: nn.Module) -> Basis | None:
    """The basis of a model, to be learnt by its `fit` before training; None without."""
    return next((part for part in model.modules() if isinstance(part, Basis)), None)
