"""Grams of dry matter from the views of a picture and the metadata beside it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hsengine.base.errors import UserError
from hstasks.networks import encoders, fused_bag, fusion

_LEAST = 0.02
"""Components start at this many standard deviations at least, where softplus still has a slope."""


class Told(NamedTuple):
    """What a network says of a batch.

    Attributes:
        grams: (B, 5) green, dead, clover, GDM, total.
        log_var: (B, 5) logarithm of their variances, grams².
        auxiliary: (B, n) of each auxiliary target, in the order of the network's `auxiliary`.
    """

    grams: Tensor
    log_var: Tensor
    auxiliary: tuple[Tensor, ...]


class FusedRegression(nn.Module):
    """One backbone for all views, whose vectors are averaged, then a head with or without metadata.

    With `three` components green, dead and clover are softplus outputs and GDM and total their sums, so that the
    identities hold by construction. It begins at the training set's means, or at a closed form's grams where
    `residual` says that the last three columns of the metadata are those.

    Args:
        in_channels: of the pictures.
        out_channels: 5.
        backbone: of timm, or one of `fused_bag.NAMES`, which begin at random weights.
        weights: random, pretrained or a file.
        fusion: none, mlp or perceiver.
        metadata_dim: columns of the metadata, without a closed form's.
        components: three or five.
        residual: whether metadata end in a closed form's three components in grams.
        start: mean of the three components, grams.
        scale: standard deviations of the five targets, grams.
        auxiliary: outputs of each auxiliary target.
        hidden: width of the head without fusion; 0: one linear layer.
        dropout: of the head without fusion.
        options: further parameters of the fusion.
        mean: of the pictures' channels, white as 1, for backbones of timm.
        std: the same.

    Raises:
        UserError: the backbone or the fusion cannot be built so.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        backbone: str = "efficientnet_b3",
        weights: str = "pretrained",
        fusion: str = "none",
        metadata_dim: int = 0,
        components: str = "three",
        residual: bool = False,
        start: list[float] = [26.0, 12.0, 7.0],  # noqa: B006
        scale: list[float] = [25.0, 12.0, 12.0, 25.0, 28.0],  # noqa: B006
        auxiliary: dict[str, int] = {},  # noqa: B006
        hidden: int = 256,
        dropout: float = 0.2,
        options: dict[str, Any] = {},  # noqa: B006
        mean: list[float] = [0.485, 0.456, 0.406],  # noqa: B006
        std: list[float] = [0.229, 0.224, 0.225],  # noqa: B006
    ):
        super().__init__()
        if out_channels != 5:
            raise UserError(f"The network of grams has {out_channels} outputs: it needs the five targets.")
        self.plain = backbone in fused_bag.NAMES
        if self.plain:
            self.encoder, width = fused_bag.bag(backbone, in_channels)
        else:
            self.encoder, width = encoders.backbone(backbone, weights, in_channels)
        self.three, self.residual, self.fused = components == "three", residual, fusion != "none"
        self.metadata_dim = metadata_dim
        self.head = _head(fusion, width, metadata_dim, out_channels, hidden, dropout, options)
        if self.three:
            last = [module for module in self.head.modules() if isinstance(module, nn.Linear)][-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.auxiliary = nn.ModuleDict({name: nn.Linear(width, count) for name, count in auxiliary.items()})
        for name, values, shape in (("mean", mean, (-1, 1, 1)), ("std", std, (-1, 1, 1))):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(shape))
        self.register_buffer("start", torch.tensor(start, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32).clamp_min(1e-3))

    def forward(self, image: Tensor, metadata: Tensor) -> Told:
        """What is said of views (B, V, channels, h, w), white as 1, and metadata (B, metadata_dim [+ 3])."""
        batch, views = image.shape[:2]
        mean: Any = self.mean
        seen = image.flatten(0, 1)
        seen = seen if self.plain else (seen - mean) / self.std
        vector = self.encoder(seen).reshape(batch, views, -1).mean(dim=1)
        known = metadata[:, : self.metadata_dim]
        means, log_var = self.head(vector, known) if self.fused else self.head(vector).chunk(2, dim=1)
        extra = tuple(layer(vector) for layer in self.auxiliary.values())
        if not self.three:
            return Told(means, log_var, extra)
        scale: Any = self.scale
        start: Any = self.start
        base = metadata[:, self.metadata_dim : self.metadata_dim + 3] if self.residual else start
        begin: Tensor = (base / scale[:3]).clamp_min(_LEAST)
        parts = F.softplus(torch.log(torch.expm1(begin)) + means[:, :3]) * scale[:3]
        green, dead, clover = parts.unbind(dim=1)
        gdm = green + clover
        grams = torch.stack([green, dead, clover, gdm, gdm + dead], dim=1)
        return Told(grams, log_var + 2.0 * torch.log(scale), extra)


def _head(
    kind: str, width: int, metadata: int, outputs: int, hidden: int, dropout: float, options: dict[str, Any]
) -> nn.Module:
    if kind != "none":
        if metadata < 1:
            raise UserError(
                f"The fusion '{kind}' needs metadata: name some in metadata.columns, or set fusion to none."
            )
        config = {"kind": kind, "feature_dim": width, "metadata_dim": metadata, "num_outputs": outputs, **options}
        return fusion.build(config)
    if options:
        raise UserError(f"model.options {sorted(options)} are a fusion's: set fusion to mlp or perceiver.")
    if not hidden:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, 2 * outputs))
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, 2 * outputs),
    )


def entropy(columns: Any, bins: int = 32) -> float:
    """The mean over columns (n, M) of the entropy of their histograms, in nats: what metadata are taken to hold."""
    import numpy as np

    values = np.asarray(columns, dtype=np.float64)
    found = []
    for column in values.T:
        share = np.histogram(column, bins=bins)[0] / max(len(column), 1)
        found.append(-sum(p * math.log(p) for p in share if p > 0))
    return float(np.mean(found)) if found else 0.0
