"""TRevSCI: reversible networks that demosaic a plane to RGB, to be followed by a spectral network.

The reversible blocks are those of Z. Cheng et al., "Memory-efficient network for large-scale video compressive
sensing" (RevSCI), CVPR 2021 (arXiv:2103.03089); TRevSCI is the challenge's own use of them for mosaics.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from hsdata.layout import RGB_FULL
from hsengine.base.errors import UserError
from hsmodels.zoo import bayer, reversible
from hsmodels.zoo.precision import native
from hsmodels.zoo.registry import Feed, State, part, register
from hsmodels.zoo.tracing import enlarged
from hsmodels.zoo.volume import VolumeConvolution

_CHANNELS = 64


def _check_split(n_split: int) -> None:
    if n_split < 2 or _CHANNELS % n_split:
        allowed = ", ".join(str(n) for n in range(2, _CHANNELS + 1) if _CHANNELS % n == 0)
        raise UserError(f"n_split {n_split} is not allowed: {_CHANNELS} channels split into {allowed} groups.")


def infer(state: State, *, dimensions: int) -> dict[str, Any] | None:
    """The parameters that a published state dict was trained with; None for another family's."""
    first = state.get("conv1.0.weight")
    if first is None or "conv2.6.weight" not in state or first.ndim != dimensions + 2:
        return None
    return {
        "n_blocks": len({key.split(".")[1] for key in state if key.startswith("layers.")}),
        "n_split": len({key.split(".")[3] for key in state if key.startswith("layers.")}) or 2,
    }


class RevSCI(nn.Module):
    """What the networks on volumes and on images have in common.

    A plane enters as (B, 4, H, W), with its three Bayer masks, or as (B, 1, H, W): the masks of an RGGB
    plane are then made here. `old_mode` takes the latter only, as older checkpoints' configurations say.
    """

    def __init__(self, n_blocks: int, n_split: int, old_mode: bool, dimensions: int):
        super().__init__()
        _check_split(n_split)
        self.n_split, self.old_mode = n_split, old_mode
        encoder, decoder = _volume_ends() if dimensions == 3 else _image_ends()
        self.conv1 = encoder
        self.layers = nn.ModuleList(
            [reversible.ReversibleBlock(_CHANNELS, n_split, dimensions) for _ in range(n_blocks)]
        )
        self.conv2 = decoder

    def seen(self, x: Tensor) -> Tensor:
        """What each colour's pixels saw, zero elsewhere: (B, 3, H, W).

        Raises:
            UserError: the channels are not those of a plane, or the height or the width is odd.
        """
        bayer.check_even(*x.shape[-2:])
        if x.shape[1] not in ((1,) if self.old_mode else (1, 4)):
            wanted = "one plane" if self.old_mode else "one plane, or a plane and its three Bayer masks"
            raise UserError(f"{type(self).__name__} takes {wanted}, not {x.shape[1]} channels.")
        return x * bayer.masks(x) if x.shape[1] == 1 else x[:, :1] * x[:, 1:]

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encoder, reversible blocks, decoder."""
        with native(x):
            hidden = reversible.run(self.layers, self.conv1(x), self.n_split)
            out: Tensor = self.conv2(hidden)
        return out


def _volume_ends() -> tuple[nn.Sequential, nn.Sequential]:
    encoder = nn.Sequential(
        VolumeConvolution(1, 16, 5), nn.LeakyReLU(),
        VolumeConvolution(16, 32, 3), nn.LeakyReLU(),
        nn.Conv3d(32, 32, 1), nn.LeakyReLU(),
        VolumeConvolution(32, _CHANNELS, 3, stride=2), nn.LeakyReLU(),
    )  # fmt: skip
    raised = nn.ConvTranspose3d(_CHANNELS, 32, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), output_padding=(0, 1, 1))
    decoder = nn.Sequential(
        raised, nn.LeakyReLU(),
        VolumeConvolution(32, 32, 3), nn.LeakyReLU(),
        nn.Conv3d(32, 16, 1), nn.LeakyReLU(),
        VolumeConvolution(16, 1, 3),
    )  # fmt: skip
    return encoder, decoder


def _image_ends() -> tuple[nn.Sequential, nn.Sequential]:
    encoder = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2), nn.LeakyReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.LeakyReLU(),
        nn.Conv2d(32, 32, 1), nn.LeakyReLU(),
        nn.Conv2d(32, _CHANNELS, 3, stride=2, padding=1), nn.LeakyReLU(),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.ConvTranspose2d(_CHANNELS, 32, 3, stride=2, padding=1, output_padding=1), nn.LeakyReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.LeakyReLU(),
        nn.Conv2d(32, 16, 1), nn.LeakyReLU(),
        nn.Conv2d(16, 3, 3, padding=1),
    )  # fmt: skip
    return encoder, decoder


@register("revsci_rgb", feeds={1: Feed()}, target=RGB_FULL, bands=None, infer=partial(infer, dimensions=3))
class RevSCIRGB(RevSCI):
    """The reversible network on volumes, whose depth is colour.

    Args:
        n_blocks: reversible blocks.
        n_split: groups of channels in a block.
        old_mode: take a plane only, not a plane with its masks.
    """

    def __init__(self, n_blocks: NonNegativeInt = 12, n_split: PositiveInt = 2, old_mode: bool = False):
        super().__init__(n_blocks, n_split, old_mode, dimensions=3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W) planes, or (B, 4, H, W) with their masks → RGB (B, 3, H, W)."""
        return self.reconstruct(self.seen(x)[:, None])[:, 0]


@register("revsci2_rgb", feeds={1: Feed()}, target=RGB_FULL, bands=None, infer=partial(infer, dimensions=2))
class RevSCI2RGB(RevSCI):
    """The reversible network on images; see `RevSCIRGB`."""

    def __init__(self, n_blocks: NonNegativeInt = 12, n_split: PositiveInt = 2, old_mode: bool = False):
        super().__init__(n_blocks, n_split, old_mode, dimensions=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W) planes, or (B, 4, H, W) with their masks → RGB (B, 3, H, W)."""
        return self.reconstruct(self.seen(x))


class Mosaicked(nn.Module):
    """Doubles an image's size, bicubic, and samples it as an RGGB sensor would."""

    def forward(self, rgb: Tensor) -> Tensor:
        """RGB (B, 3, H, W) → planes (B, 1, 2H, 2W)."""
        return bayer.sample(enlarged(rgb, 2))


def infer_up(state: State) -> dict[str, Any] | None:
    """As `infer`, for `revsci_rgb_up`."""
    return infer(part(state, "1."), dimensions=3) if all(key.startswith("1.") for key in state) else None


@register("revsci_rgb_up", feeds={2: Feed()}, target=RGB_FULL, bands=None, infer=infer_up)
class RevSCIRGBUp(nn.Sequential):
    """Doubles an image's size by way of a mosaic: RGB (B, 3, H, W) → RGB (B, 3, 2H, 2W).

    Args:
        n_blocks: reversible blocks.
        n_split: groups of channels in a block.
        old_mode: as of `RevSCIRGB`; the network gets a plane either way.
    """

    def __init__(self, n_blocks: NonNegativeInt = 12, n_split: PositiveInt = 2, old_mode: bool = False):
        super().__init__(Mosaicked(), RevSCIRGB(n_blocks, n_split, old_mode))
