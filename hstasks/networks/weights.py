"""Weights of encoders: random, the library's pretrained ones, or those of a local file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.base.reading import reason
from hsengine.base.wording import close_matches, some

RANDOM, PRETRAINED = "random", "pretrained"


def create(name: str, weights: str, in_channels: int, **options: Any) -> nn.Module:
    """A timm model with the weights asked for, and a first layer for any number of channels.

    Args:
        name: timm's name, with or without the tag of its weights.
        weights: "random", "pretrained", or the path of a .safetensors or .pth file of the same timm model.
        in_channels: channels of the input.
        **options: of `timm.create_model`.

    Raises:
        UserError: there is no such model, its weights cannot be had, or the file is not of it.
    """
    import timm

    if not timm.is_model(name.partition(".")[0]):
        known = timm.list_models()
        raise UserError(
            f"timm has no model '{name}'{close_matches(name, known)}. "
            "Its names are listed by: python -c \"import timm; print(*timm.list_models(), sep='\\n')\""
        )
    if weights == RANDOM:
        model: nn.Module = timm.create_model(name, pretrained=False, in_chans=in_channels, **options)
        return model
    try:
        if weights == PRETRAINED:
            model = timm.create_model(name, pretrained=True, **options)
        else:
            model = timm.create_model(
                name, pretrained=True, pretrained_cfg_overlay={"state_dict": state_of(name, weights)}, **options
            )
    except UserError:
        raise
    # The hub, the network and the disk fail in ways of their own, each with its own class.
    except Exception as error:
        raise UserError(
            f"The pretrained weights of '{name}' cannot be had ({type(error).__name__}: {reason(error)}). "
            "Set 'weights' to the path of a .safetensors or .pth file with them, or to 'random' for untrained ones."
        ) from None
    if in_channels != 3:
        adapt_first_layer(model, in_channels)
    return model


def state_of(name: str, path: str) -> dict[str, Tensor]:
    """The weights in a local file, proven to be of a timm model: every one of it is there, but for the classifier.

    Nothing pickled is executed.

    Raises:
        UserError: the file is missing or unreadable, or its weights are another model's.
    """
    import timm

    state = read_state(path)
    model: Any = timm.create_model(name, pretrained=False)
    classifier = model.default_cfg.get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    heads = tuple(f"{head}." for head in heads)
    whole = model.state_dict()
    mine = {key: value.shape for key, value in whole.items() if not key.startswith(heads)}
    lacking = [key for key in mine if key not in state]
    unlike = [key for key in mine if key in state and state[key].shape != mine[key]]
    if lacking or unlike:
        what = f"lacks {some(lacking, 3)}" if lacking else f"has other shapes of {some(unlike, 3)}"
        raise UserError(
            f"{path} does not hold the weights of '{name}': it {what}. Name the model that they are of, or set "
            "'weights' to 'random'."
        )
    # A classifier of other classes is of no use to an encoder; timm would refuse the whole file for it.
    return {
        key: state[key] if key in state and state[key].shape == value.shape else value for key, value in whole.items()
    }


def read_state(path: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a file of `torch.save`, of which nothing is executed.

    Raises:
        UserError: the file is missing, or holds no such thing.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(
            f"There is no file of weights {path}: 'weights' is 'random', 'pretrained' or the path of a file."
        )
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    # A damaged or hostile file fails in many ways.
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as weights ({type(error).__name__}: {reason(error)}): give a .safetensors "
            "file, or one of torch.save that holds tensors only."
        ) from None
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f"{path} holds no state dict: give a file of named tensors.")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def adapt_first_layer(model: nn.Module, in_channels: int) -> None:
    """Give a model of RGB a first convolution of any number of channels.

    See `adapted`; biases and all other layers stay.

    Raises:
        UserError: the model has no plain convolution of three channels at its start.
    """
    layer = first_convolution(model)
    if layer is None or layer.in_channels != 3 or layer.groups != 1:
        raise UserError(
            f"The network's first layer is no plain convolution of 3 channels: it cannot take {in_channels}. "
            "Give pictures of 3 channels, or set 'weights' to 'random'."
        )
    layer.weight = nn.Parameter(adapted(layer.weight.detach(), in_channels))
    layer.in_channels = in_channels


def adapted(weight: Tensor, channels: int) -> Tensor:
    """A kernel of RGB for any number of channels: the sum for one, repeated and scaled for more.

    A grey picture in every channel gives what it gave in three; so does an RGB picture repeated.

    Args:
        weight: (out, 3, h, w).
        channels: of the input.

    Returns:
        (out, channels, h, w).
    """
    given = weight.shape[1]
    repeats = -(-channels // given)
    tiled = weight.repeat(1, repeats, 1, 1)[:, :channels] * (given / channels)
    missing = weight.sum(dim=1, keepdim=True) - tiled.sum(dim=1, keepdim=True)
    return tiled + missing / channels


def first_convolution(model: nn.Module) -> nn.Conv2d | None:
    """The first convolution in the order of the model's parts."""
    return next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
