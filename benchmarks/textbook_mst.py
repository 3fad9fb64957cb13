"""MST++ written the textbook way, with einops: what the toolkit's own is measured and tested against.

Its state keys are those of `hsmodels.zoo`, so that weights can be copied from one to the other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class SpectralAttention(nn.Module):
    def __init__(self, dim: int, dim_head: int):
        super().__init__()
        self.heads = dim // dim_head
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.rescale = nn.Parameter(torch.ones(self.heads, 1, 1))
        self.proj = nn.Linear(dim, dim)
        self.pos_emb = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False),
            nn.GELU(),
            nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[1]
        tokens = rearrange(x, "b h w c -> b (h w) c")
        values = self.to_v(tokens)
        q, k, v = (
            rearrange(t, "b n (heads d) -> b heads d n", heads=self.heads)
            for t in (self.to_q(tokens), self.to_k(tokens), values)
        )
        q = F.normalize(q, dim=-1)
        k = F.normalize(k, dim=-1)
        attention = ((k @ q.transpose(-2, -1)) * self.rescale).softmax(dim=-1)
        mixed = rearrange(attention @ v, "b heads d n -> b n (heads d)")
        out = rearrange(self.proj(mixed), "b (h w) c -> b h w c", h=height)
        position = self.pos_emb(rearrange(values, "b (h w) c -> b c h w", h=height))
        return out + rearrange(position, "b c h w -> b h w c")


class FeedForward(nn.Module):
    def __init__(self, dim: int, mult: int = 4):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(dim, dim * mult, 1, bias=False),
            nn.GELU(),
            nn.Conv2d(dim * mult, dim * mult, 3, padding=1, groups=dim * mult, bias=False),
            nn.GELU(),
            nn.Conv2d(dim * mult, dim, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(self.net(rearrange(x, "b h w c -> b c h w")), "b c h w -> b h w c")


class PreNorm(nn.Module):
    def __init__(self, dim: int, fn: nn.Module):
        super().__init__()
        self.fn = fn
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x))


class AttentionBlock(nn.Module):
    def __init__(self, dim: int, dim_head: int):
        super().__init__()
        pair = nn.ModuleList([SpectralAttention(dim, dim_head), PreNorm(dim, FeedForward(dim))])
        self.blocks = nn.ModuleList([pair])

    def forward(self, x: Tensor) -> Tensor:
        x = rearrange(x, "b c h w -> b h w c")
        for attention, feed_forward in self.blocks:
            x = attention(x) + x
            x = feed_forward(x) + x
        return rearrange(x, "b h w c -> b c h w")


class SingleStage(nn.Module):
    def __init__(self, dim: int, levels: int = 2):
        super().__init__()
        self.embedding = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.encoder_layers = nn.ModuleList()
        width = dim
        for _ in range(levels):
            down = nn.Conv2d(width, width * 2, 4, stride=2, padding=1, bias=False)
            self.encoder_layers.append(nn.ModuleList([AttentionBlock(width, dim), down]))
            width *= 2
        self.bottleneck = AttentionBlock(width, dim)
        self.decoder_layers = nn.ModuleList()
        for _ in range(levels):
            up = nn.ConvTranspose2d(width, width // 2, 2, stride=2)
            fusion = nn.Conv2d(width, width // 2, 1, bias=False)
            self.decoder_layers.append(nn.ModuleList([up, fusion, AttentionBlock(width // 2, dim)]))
            width //= 2
        self.mapping = nn.Conv2d(dim, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embedding(x)
        skips = []
        for block, down in self.encoder_layers:
            y = block(y)
            skips.append(y)
            y = down(y)
        y = self.bottleneck(y)
        for (up, fusion, block), skip in zip(self.decoder_layers, reversed(skips), strict=True):
            y = block(fusion(torch.cat([up(y), skip], dim=1)))
        return self.mapping(y) + x


class Upsampler(nn.Module):
    def __init__(self, dim: int, factor: int):
        super().__init__()
        self.conv_expand = nn.Conv2d(dim, dim * factor**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(factor)
        self.conv_refine = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_refine(self.shuffle(self.conv_expand(x)))


class TextbookMST(nn.Module):
    """(B, in_channels, H, W) → (B, out_channels, r·H, r·W)."""

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 61,
        n_feat: int = 61,
        stage: int = 3,
        upscale_factor: int = 2,
    ):
        super().__init__()
        self.factor = upscale_factor
        self.conv_in = nn.Conv2d(in_channels, n_feat, 3, padding=1, bias=False)
        self.body = nn.Sequential(*[SingleStage(n_feat) for _ in range(stage)])
        self.conv_out = nn.Conv2d(n_feat, out_channels, 3, padding=1, bias=False)
        self.upsampler = Upsampler(out_channels, upscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        features = self.conv_in(F.pad(x, (0, -width % 8, 0, -height % 8), mode="reflect"))
        y = self.upsampler(self.conv_out(self.body(features)) + features)
        return y[..., : height * self.factor, : width * self.factor]
