"""Image vectors and metadata together: a gate with perceptrons, or a perceiver.

Both give, for each output, a mean and the logarithm of a variance. The published constructors' names are kept, so
that a published configuration builds them and a published state loads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hsengine.base.errors import UserError
from hsengine.base.wording import close_matches

IMAGE_ENTROPY = 7.1
"""What an image is taken to hold, in nats, where nothing is measured."""


class MLPFusion(nn.Module):
    """Metadata through a perceptron and a gate, beside the image vector, then a perceptron to the outputs.

    The image is scaled by H_i / (H_i + H_m), the metadata by H_m / (H_i + H_m), with the entropies H of either.

    Args:
        feature_dim: D, length of the image vector.
        metadata_dim: M, columns of the metadata.
        num_outputs: T.
        image_entropy: H_i, in nats.
        metadata_entropy: H_m, the mean entropy of the columns' histograms.
        tabular_hidden_dims: layers of the metadata.
        fusion_hidden_dims: layers of the head.
        use_layernorm: whether the metadata are normalised by row first.
        tabular_dropout: in the layers of the metadata.
        fusion_dropout: in the layers of the head.
    """

    def __init__(
        self,
        feature_dim: int,
        metadata_dim: int,
        num_outputs: int,
        image_entropy: float = IMAGE_ENTROPY,
        metadata_entropy: float = 1.0,
        tabular_hidden_dims: Sequence[int] = (128, 64),
        fusion_hidden_dims: Sequence[int] = (512, 256),
        use_layernorm: bool = True,
        tabular_dropout: float = 0.1,
        fusion_dropout: float = 0.25,
    ):
        super().__init__()
        total = image_entropy + metadata_entropy
        if not total > 0:
            raise UserError(f"Entropies {image_entropy} and {metadata_entropy}: their sum must be above 0.")
        self.image_share, self.metadata_share = image_entropy / total, metadata_entropy / total
        self.num_outputs = num_outputs
        self.tabular_encoder = _Layers(metadata_dim, tabular_hidden_dims, None, tabular_dropout, use_layernorm)
        width = feature_dim + tabular_hidden_dims[-1]
        inner = max(64, width // 4)
        self.fusion_gate = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, 1))
        self.regressor = _Layers(width, fusion_hidden_dims, 2 * num_outputs, fusion_dropout, False)

    def forward(self, image_features: Tensor, metadata: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances, (B, T) each, of image vectors (B, D) and metadata (B, M)."""
        image = image_features * self.image_share
        table = self.tabular_encoder(metadata * self.metadata_share)
        gate = torch.sigmoid(self.fusion_gate(torch.cat([image, table], dim=1)))
        return _halves(self.regressor(torch.cat([image, table * gate], dim=1)), self.num_outputs)


class PerceiverFusion(nn.Module):
    """Learned latents that attend to two tokens, image and metadata, then to each other (Jaegle et al. 2021).

    Args:
        feature_dim: D, length of the image vector.
        metadata_dim: M, columns of the metadata.
        num_outputs: T.
        latent_dim: width; `num_heads` must divide it.
        num_latents: how many latents there are.
        num_layers: rounds of attention among the latents.
        num_heads: of the attention.
        dropout: in attention and feed-forward layers.

    Raises:
        UserError: the heads do not divide the width.
    """

    def __init__(
        self,
        feature_dim: int,
        metadata_dim: int,
        num_outputs: int,
        latent_dim: int = 512,
        num_latents: int = 32,
        num_layers: int = 3,
        num_heads: int = 4,
        dropout: float = 0.1,
    ):
        super().__init__()
        if num_heads < 1 or latent_dim % num_heads:
            fitting = [heads for heads in range(1, 17) if latent_dim % heads == 0]
            raise UserError(
                f"{num_heads} heads do not divide the perceiver's width of {latent_dim}: choose num_heads among "
                f"{', '.join(map(str, fitting))}, or another latent_dim."
            )
        self.num_outputs = num_outputs
        self.image_proj = nn.Linear(feature_dim, latent_dim)
        self.metadata_proj = nn.Linear(metadata_dim, latent_dim)
        self.encoder = _Perceiver(latent_dim, num_latents, num_layers, num_heads, dropout)
        self.head = nn.Linear(latent_dim, 2 * num_outputs)

    def forward(self, image_features: Tensor, metadata: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances, (B, T) each, of image vectors (B, D) and metadata (B, M)."""
        tokens = torch.stack([self.image_proj(image_features), self.metadata_proj(metadata)], dim=1)
        return _halves(self.head(self.encoder(tokens).mean(dim=1)), self.num_outputs)


KINDS: Mapping[str, type[MLPFusion] | type[PerceiverFusion]] = {"mlp": MLPFusion, "perceiver": PerceiverFusion}


def build(config: Mapping[str, Any]) -> MLPFusion | PerceiverFusion:
    """The fusion that a configuration names by its `kind`, "mlp" or "perceiver", with the rest as arguments.

    Raises:
        UserError: another kind, or an argument that it does not take or lacks.
    """
    given = dict(config)
    kind = str(given.pop("kind", ""))
    if kind not in KINDS:
        raise UserError(f"There is no fusion '{kind}'{close_matches(kind, KINDS)}: choose {' or '.join(KINDS)}.")
    try:
        return KINDS[kind](**given)
    except TypeError as error:
        raise UserError(f"The fusion '{kind}' cannot be built from {sorted(given)}: {error}.") from None


class _Layers(nn.Module):
    """Linear, GELU, dropout for each width; a last linear layer where there is an `out`."""

    def __init__(self, inner: int, widths: Sequence[int], out: int | None, dropout: float, norm: bool):
        super().__init__()
        layers: list[nn.Module] = [nn.LayerNorm(inner)] if norm else []
        for width in widths:
            layers += [nn.Linear(inner, width), nn.GELU(), nn.Dropout(dropout)]
            inner = width
        if out is not None:
            layers.append(nn.Linear(inner, out))
        self.network = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x)
        return y


class _Perceiver(nn.Module):
    def __init__(self, width: int, latents: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, width) * 0.02)
        self.input_norm = nn.LayerNorm(width)
        self.cross_attn = _Attention(width, heads, dropout=dropout, batch_first=True)
        self.cross_ff = nn.Sequential(nn.LayerNorm(width), *_feed_forward(width, dropout))
        self.self_blocks = nn.ModuleList(_SelfBlock(width, heads, dropout) for _ in range(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.latents.expand(tokens.shape[0], -1, -1)
        seen = self.input_norm(tokens)
        x = x + self.cross_attn.attended(x, seen)
        x = x + self.cross_ff(x)
        for block in self.self_blocks:
            x = block(x)
        return x


class _Attention(nn.MultiheadAttention):
    """The library's parameters, without its second way of computing in evaluation, which no trace can follow."""

    def attended(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """(B, N, width) of queries (B, N, width) to tokens (B, K, width)."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, weight, bias).reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)
            for x, weight, bias in zip((queries, tokens, tokens), weights, biases, strict=True)
        )
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        mixed: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return mixed


class _SelfBlock(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.attn = _Attention(width, heads, dropout=dropout, batch_first=True)
        self.ln2 = nn.LayerNorm(width)
        self.ff = nn.Sequential(*_feed_forward(width, dropout))

    def forward(self, x: Tensor) -> Tensor:
        normal = self.ln1(x)
        x = x + self.attn.attended(normal, normal)
        out: Tensor = x + self.ff(self.ln2(x))
        return out


def _feed_forward(width: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)]


def _halves(values: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
    return values[:, :outputs], values[:, outputs:]
