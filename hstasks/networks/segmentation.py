"""Networks of masks: decoders of segmentation-models-pytorch, and UNetFormer's, over any timm encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import segmentation_models_pytorch as smp
import torch
from pydantic import Field
from segmentation_models_pytorch.base.modules import SCSEModule
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from torch import Tensor, nn
from torch.nn import functional as F

from hsengine.base.errors import UserError
from hstasks.networks.encoders import Encoder, Stem
from hstasks.networks.output import Output
from hstasks.networks.unetformer import UNetFormerDecoder
from hstasks.networks.weights import PRETRAINED

Rate = Annotated[float, Field(ge=0, lt=1)]
Width = Annotated[int, Field(ge=8)]
Activation = Literal["relu", "elu"]


class Segmenter(nn.Module):
    """Encoder, decoder and heads: (B, in_channels, H, W) of any size → `Output` of that size.

    Args:
        encoder: six levels of features.
        decoder: the levels → a list of maps, fine ones last.
        widths: channels of those maps.
        out_channels: classes.
        multiple: the input is padded to a multiple of this, at its lower and right edges, and the logits cut back.
        hypercolumn: whether the head sees all maps, upsampled to the finest, or the finest only.
        deep_supervision: whether each map but the finest has logits of its own.
        presence: whether there is a head that says if the image holds anything.
        dropout: share of the channels before the head that are dropped in training.
    """

    def __init__(
        self,
        encoder: Encoder | GatedEncoder,
        decoder: nn.Module,
        widths: Sequence[int],
        out_channels: int,
        *,
        multiple: int = 1,
        hypercolumn: bool = False,
        deep_supervision: bool = False,
        presence: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.multiple = multiple
        self.hypercolumn = hypercolumn
        width = sum(widths) if hypercolumn else widths[-1]
        self.head = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(width, out_channels, 3, padding=1))
        sides = widths[:-1] if deep_supervision else []
        self.sides = nn.ModuleList(nn.Conv2d(side, out_channels, 1) for side in sides)
        top = encoder.channels[-1]
        self.presence = (
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(top, 1))
            if presence
            else None
        )
        # A mask is mostly empty: the head starts near that, the decoder as its library has it.
        smp.base.initialization.initialize_decoder(decoder)
        smp.base.initialization.initialize_head(self.head)

    def forward(self, image: Tensor) -> Output:
        """The masks of a batch of images, (B, in_channels, H, W)."""
        height, width = image.shape[-2:]
        below, right = -height % self.multiple, -width % self.multiple
        padded = F.pad(image, (0, right, 0, below), mode="replicate") if below or right else image
        features = self.encoder(padded)
        maps = self.decoder(features)
        size = padded.shape[-2:]
        last = maps[-1]
        if self.hypercolumn:
            last = torch.cat([_resized(each, last.shape[-2:]) for each in maps], dim=1)
        logits = _resized(self.head(last), size)[..., :height, :width]
        sides = [_resized(side(each), size)[..., :height, :width] for side, each in zip(self.sides, maps, strict=False)]
        there = None if self.presence is None else self.presence(features[-1])[:, 0]
        return Output(logits, tuple(sides), there)

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Those that may have a rate of their own."""
        return list(self.encoder.parameters())


class _UNetMaps(UnetDecoder):  # type: ignore[misc]
    """The library's decoder, which also hands out its coarser levels."""

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        sizes = [feature.shape[2:] for feature in features][::-1]
        skips: list[Tensor | None] = [*features[1:-1][::-1], None]
        maps = [self.center(features[-1])]
        for block, size, skip in zip(self.blocks, sizes[1:], skips, strict=True):
            maps.append(block(maps[-1], size[0], size[1], skip_connection=skip))
        return maps[1:]


class _OneMap(nn.Module):
    """A decoder of one map."""

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [self.decoder(features)]


class GatedEncoder(nn.Module):
    """An encoder whose levels pass through spatial and channel squeeze and excitation."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder
        self.channels = encoder.channels
        self.gates = nn.ModuleList(SCSEModule(width) if width >= 16 else nn.Identity() for width in encoder.channels)

    def forward(self, image: Tensor) -> list[Tensor]:
        """See `Encoder`."""
        levels = self.encoder(image)
        return [levels[0], *(gate(level) for gate, level in zip(self.gates[1:], levels[1:], strict=True))]


def unet(
    in_channels: int,
    out_channels: int,
    encoder: str = "resnet34",
    weights: str = PRETRAINED,
    stem: Stem = "standard",
    decoder_channels: Sequence[Width] = (256, 128, 64, 32, 16),
    scse: bool = False,
    encoder_scse: bool = False,
    activation: Activation = "relu",
    hypercolumn: bool = False,
    deep_supervision: bool = False,
    presence: bool = False,
    dropout: Rate = 0.0,
) -> Segmenter:
    """U-Net (Ronneberger et al. 2015) over any timm encoder, with what won the salt challenge by parameter.

    Args:
        in_channels: channels of the input.
        out_channels: classes; 1 for binary masks.
        encoder: timm's name.
        weights: "random", "pretrained", or the path of a local file.
        stem: how early the picture shrinks.
        decoder_channels: widths of the five levels, coarse to fine.
        scse: squeeze and excitation in the decoder (Roy et al. 2018).
        encoder_scse: the same after each level of the encoder.
        activation: of the decoder.
        hypercolumn: see `Segmenter`, as are the rest.
        deep_supervision: logits of the coarser levels.
        presence: a head of whether there is anything.
        dropout: before the heads.
    """
    if len(decoder_channels) != 5:
        raise UserError(f"decoder_channels: {list(decoder_channels)}: give five widths, coarse to fine.")
    levels = Encoder(encoder, weights, in_channels, stem)
    decoder = _UNetMaps(levels.channels, list(decoder_channels), attention_type="scse" if scse else None)
    # The finest block has no skip to weigh.
    decoder.blocks[-1].attention1 = nn.Identity()
    if activation == "elu":
        _replace_relu(decoder)
    return Segmenter(
        GatedEncoder(levels) if encoder_scse else levels,
        decoder,
        decoder_channels,
        out_channels,
        multiple=32 if levels.first else 1,
        hypercolumn=hypercolumn,
        deep_supervision=deep_supervision,
        presence=presence,
        dropout=dropout,
    )


def unetplusplus(
    in_channels: int,
    out_channels: int,
    encoder: str = "resnet34",
    weights: str = PRETRAINED,
    decoder_channels: Sequence[Width] = (256, 128, 64, 32, 16),
    scse: bool = False,
    presence: bool = False,
    dropout: Rate = 0.0,
) -> Segmenter:
    """U-Net++ (Zhou et al. 2018); parameters as of `unet`."""
    levels = Encoder(encoder, weights, in_channels)
    decoder = UnetPlusPlusDecoder(levels.channels, list(decoder_channels), attention_type="scse" if scse else None)
    return _plain(levels, decoder, decoder_channels[-1], out_channels, presence, dropout)


def fpn(
    in_channels: int,
    out_channels: int,
    encoder: str = "resnet34",
    weights: str = PRETRAINED,
    stem: Literal["standard", "no_pool"] = "standard",
    pyramid_channels: Width = 256,
    segmentation_channels: Annotated[int, Field(ge=32, multiple_of=32)] = 128,
    presence: bool = False,
    dropout: Rate = 0.2,
) -> Segmenter:
    """Feature pyramid with a mask head (Kirillov et al. 2019); parameters as of `unet`."""
    levels = Encoder(encoder, weights, in_channels, stem)
    decoder = FPNDecoder(
        levels.channels,
        pyramid_channels=pyramid_channels,
        segmentation_channels=segmentation_channels,
        dropout=0.0,
    )
    return _plain(levels, decoder, decoder.out_channels, out_channels, presence, dropout)


def deeplabv3plus(
    in_channels: int,
    out_channels: int,
    encoder: str = "resnet34",
    weights: str = PRETRAINED,
    output_stride: Literal[8, 16] = 16,
    decoder_channels: Width = 256,
    atrous_rates: tuple[int, int, int] = (12, 24, 36),
    presence: bool = False,
    dropout: Rate = 0.0,
) -> Segmenter:
    """DeepLabV3+ (Chen et al. 2018); parameters as of `unet`, and the rates of the dilated convolutions."""
    levels = Encoder(encoder, weights, in_channels, output_stride=output_stride)
    decoder = DeepLabV3PlusDecoder(
        levels.channels,
        encoder_depth=5,
        out_channels=decoder_channels,
        atrous_rates=list(atrous_rates),
        output_stride=output_stride,
        aspp_separable=True,
        aspp_dropout=0.5,
    )
    return _plain(levels, decoder, decoder_channels, out_channels, presence, dropout)


def segformer(
    in_channels: int,
    out_channels: int,
    encoder: str = "pvt_v2_b2",
    weights: str = PRETRAINED,
    decoder_channels: Width = 256,
    presence: bool = False,
    dropout: Rate = 0.1,
) -> Segmenter:
    """SegFormer's decoder of linear layers (Xie et al. 2021) over any timm encoder; parameters as of `unet`."""
    levels = Encoder(encoder, weights, in_channels)
    decoder = SegformerDecoder(levels.channels, segmentation_channels=decoder_channels)
    return _plain(levels, decoder, decoder_channels, out_channels, presence, dropout)


def unetformer(
    in_channels: int,
    out_channels: int,
    encoder: str = "swin_base_patch4_window12_384",
    weights: str = PRETRAINED,
    decoder_channels: Width = 256,
    window: Annotated[int, Field(ge=2)] = 8,
    heads: Annotated[int, Field(ge=1)] = 8,
    deep_supervision: bool = False,
    presence: bool = False,
    dropout: Rate = 0.1,
) -> Segmenter:
    """UNetFormer's decoder (Wang et al. 2022) over any timm encoder; FT-UNetFormer with a Swin one.

    Args:
        in_channels: channels of the input.
        out_channels: classes.
        encoder: timm's name.
        weights: "random", "pretrained", or the path of a local file.
        decoder_channels: width of the decoder; `heads` must divide it.
        window: side of the attention's windows.
        heads: of the attention.
        deep_supervision: see `unet`, as are the rest.
        presence: a head of whether there is anything.
        dropout: before the heads and in the decoder.
    """
    levels = Encoder(encoder, weights, in_channels)
    decoder = UNetFormerDecoder(levels.channels[2:], decoder_channels, window=window, heads=heads, dropout=dropout)
    return Segmenter(
        levels,
        decoder,
        [decoder_channels] * 4,
        out_channels,
        multiple=32,
        deep_supervision=deep_supervision,
        presence=presence,
        dropout=dropout,
    )


def _plain(
    levels: Encoder, decoder: nn.Module, width: int, out_channels: int, presence: bool, dropout: float
) -> Segmenter:
    return Segmenter(levels, _OneMap(decoder), [width], out_channels, multiple=32, presence=presence, dropout=dropout)


def _resized(values: Tensor, size: Sequence[int]) -> Tensor:
    if values.shape[-2:] == tuple(size):
        return values
    return F.interpolate(values, size=tuple(size), mode="bilinear", align_corners=False)


def _replace_relu(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            activation: Any = nn.ELU(inplace=True)
            setattr(module, name, activation)
        else:
            _replace_relu(child)
