"""Encoders: any timm model, as a classifier or as a pyramid of features."""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hstasks.networks.weights import PRETRAINED, RANDOM, create, first_convolution

Stem = Literal["standard", "no_pool", "stride1", "full"]
"""How early the picture shrinks: as published, without the first max-pool, with a first convolution of stride 1, or
both."""

LEVELS = 5
"""Features below the input, each half the size of the one before where the stem is standard."""


class Encoder(nn.Module):
    """A timm model as a pyramid: the input, then five levels of features.

    With the standard stem, level k has 1/2^k of the input's size. Levels that a model does not have are empty, with
    0 channels.

    Args:
        name: timm's name of the model.
        weights: "random", "pretrained", or the path of a local file.
        in_channels: channels of the input.
        stem: see `Stem`; not every model has a max-pool, or a first convolution that can have stride 1.
        output_stride: where the levels stop shrinking, 8, 16 or 32, by dilated convolutions.

    Attributes:
        channels: of the six levels.

    Raises:
        UserError: no such model, no such weights, no pyramid, or no such stem.
    """

    def __init__(
        self,
        name: str,
        weights: str = PRETRAINED,
        in_channels: int = 3,
        stem: Stem = "standard",
        output_stride: int = 32,
    ):
        super().__init__()
        options: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
        self.net, indices = _pyramid(name, weights, in_channels, options)
        reductions = list(self.net.feature_info.reduction())
        channels = list(self.net.feature_info.channels())
        self.first = indices[0]
        self.channels = [in_channels, *[0] * self.first, *channels]
        self.reductions = [1, *[2 ** (level + 1) for level in range(self.first)], *reductions]
        self.channels_last = str(getattr(self.net, "output_fmt", "NCHW")).endswith("NHWC")
        if stem != "standard":
            if self.first:
                raise UserError(f"'{name}' starts at a quarter of the picture: only stem 'standard' suits it.")
            _reshape_stem(self.net, name, stem)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, in_channels, H, W) → six levels, (B, channels[k], ...)."""
        features = list(self.net(image))
        if self.channels_last:
            features = [feature.permute(0, 3, 1, 2).contiguous() for feature in features]
        empty = []
        for level in range(self.first):
            size = [side >> (level + 1) for side in image.shape[-2:]]
            empty.append(features[0].new_empty((image.shape[0], 0, *size)))
        return [image, *empty, *features]


def classifier(
    in_channels: int,
    out_channels: int,
    model: str = "resnet18",
    weights: str = PRETRAINED,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
) -> nn.Module:
    """Any timm classifier: (B, in_channels, H, W) → (B, out_channels) logits.

    Raises:
        UserError: see `create`, or a rate that the model does not take.
    """
    options: dict[str, Any] = {"num_classes": out_channels}
    if drop_rate:
        options["drop_rate"] = drop_rate
    if drop_path_rate:
        options["drop_path_rate"] = drop_path_rate
    try:
        return create(model, weights, in_channels, **options)
    except TypeError as error:
        raise UserError(f"timm's '{model}' does not take these parameters: {error}.") from None


def backbone(name: str, weights: str = PRETRAINED, in_channels: int = 3) -> tuple[nn.Module, int]:
    """A timm model that ends in its pooled vector, (B, in_channels, H, W) → (B, D), and D.

    Raises:
        UserError: see `create`.
    """
    model: Any = create(name, weights, in_channels, num_classes=0)
    return model, int(getattr(model, "head_hidden_size", None) or model.num_features)


def _pyramid(name: str, weights: str, in_channels: int, options: dict[str, Any]) -> tuple[Any, list[int]]:
    # That the head's weights are left over is meant; timm says it as a warning.
    logging.getLogger("timm.models._builder").setLevel(logging.ERROR)
    found, options = _probed(name, options)
    wanted = [2**level for level in range(1, LEVELS + 1)]
    levels = [found.index(reduction) for reduction in wanted if reduction in found]
    missing = LEVELS - len(levels)
    if len(levels) < 3 or found[levels[0] :][: len(levels)] != wanted[missing:]:
        raise UserError(
            f"'{name}' has no pyramid of features (its reductions are {found or 'unknown'}): choose an encoder such as "
            "resnet34, convnext_tiny, efficientnet_b4 or swin_base_patch4_window12_384."
        )
    try:
        net = create(name, weights, in_channels, features_only=True, out_indices=tuple(levels), **options)
    except (TypeError, NotImplementedError, AssertionError) as error:
        raise UserError(f"'{name}' cannot be an encoder with {options}: {error}.") from None
    return net, list(range(missing, LEVELS))


def _probed(name: str, options: dict[str, Any]) -> tuple[list[int], dict[str, Any]]:
    """The reductions of a model's levels, and `options` with what lets it take pictures of any size."""
    # Windows of attention fit any size once the model does not insist on that of its training.
    for extra in ({"strict_img_size": False}, {}):
        try:
            with torch.device("meta"):
                probe: Any = create(name, RANDOM, 3, features_only=True, **extra)
            return list(probe.feature_info.reduction()), {**options, **extra}
        except UserError:
            raise
        # timm's models differ in how they say that they have no levels, or no such option.
        except Exception:
            continue
    return [], options


def _reshape_stem(net: Any, name: str, stem: Stem) -> None:
    if stem in ("no_pool", "full"):
        if not hasattr(net, "maxpool"):
            raise UserError(f"'{name}' has no max-pool at its start: stem 'no_pool' suits ResNets and their like.")
        net.maxpool = nn.Identity()
    if stem in ("stride1", "full"):
        layer = first_convolution(net)
        if layer is None or layer.kernel_size[0] % 2 == 0:
            raise UserError(f"'{name}' does not start with a convolution of odd size: it needs stem 'standard'.")
        layer.stride = (1, 1)
