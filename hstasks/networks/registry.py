"""Which networks there are, and what they may be told."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from pydantic import create_model
from torch import nn

from hsengine.base.errors import UserError
from hsengine.base.params import Section, validated
from hsengine.base.wording import close_matches

Kind = Literal["segmentation", "classification", "regression"]

__loads__ = ("hstasks.networks.*",)

_PACKAGE = "hstasks.networks"
_FACTORIES: Mapping[str, Mapping[str, str]] = {
    "segmentation": {
        "deeplabv3plus": "segmentation:deeplabv3plus",
        "fpn": "segmentation:fpn",
        "seed_unet": "seed_unet:SeedUNet",
        "segformer": "segmentation:segformer",
        "unet": "segmentation:unet",
        "unet_small": "unet_small:UNetSmall",
        "unetformer": "segmentation:unetformer",
        "unetplusplus": "segmentation:unetplusplus",
    },
    "classification": {
        "cnn_small": "cnn_small:CNNSmall",
        "convnextv2": "convnextv2:ConvNeXtV2",
        "convnextv2_atto": "convnextv2:atto",
        "convnextv2_nano": "convnextv2:nano",
        "convnextv2_tiny": "convnextv2:tiny",
        "timm": "encoders:classifier",
    },
    "regression": {
        "fused": "fused:FusedRegression",
    },
}
_GIVEN = ("in_channels", "out_channels")


def names(kind: Kind | None = None) -> list[str]:
    """The networks of a kind, or all: "segmentation" ones give an `Output`, "classification" ones (B, C)."""
    return sorted(name for own, table in _FACTORIES.items() if kind in (None, own) for name in table)


def parameters(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` completed with the network's defaults.

    Raises:
        UserError: there is no such network; or names each parameter that is unknown or ill-typed, and what is allowed.
    """
    checked = validated(_schema(name), dict(given), f"The parameters of network '{name}'")
    return {key: getattr(checked, key) for key in type(checked).model_fields}


def build(name: str, params: Mapping[str, Any], in_channels: int, out_channels: int) -> nn.Module:
    """Make a network.

    Args:
        name: one of `names()`.
        params: its parameters, where they differ from the defaults.
        in_channels: channels of the input, (B, in_channels, H, W).
        out_channels: classes or values of the output.

    Raises:
        UserError: the network or a parameter is unknown, a value is not allowed, or weights cannot be had.
    """
    network: nn.Module = _factory(name)(in_channels=in_channels, out_channels=out_channels, **parameters(name, params))
    return network


def _factory(name: str) -> Any:
    for table in _FACTORIES.values():
        if name in table:
            module, _, attribute = table[name].partition(":")
            return getattr(importlib.import_module(f"{_PACKAGE}.{module}"), attribute)
    raise UserError(f"There is no network '{name}'{close_matches(name, names())}. They are: {', '.join(names())}.")


@cache
def _schema(name: str) -> type[Section]:
    fields: dict[str, Any] = {
        key: (parameter.annotation, parameter.default)
        for key, parameter in inspect.signature(_factory(name), eval_str=True).parameters.items()
        if key not in _GIVEN
    }
    return create_model("Parameters", __base__=Section, **fields)
