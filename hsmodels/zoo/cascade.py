"""Cascades: a reversible network demosaics to RGB, MST++ makes the cube of that."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.folder import faults
from hsmodels.zoo import mst, revsci
from hsmodels.zoo import pretrained as pretrained_weights
from hsmodels.zoo.registry import Feed, State, part, register


class Cascade(nn.Sequential):
    """Two networks in sequence, the first of them frozen or not.

    Args:
        first: from the track's input to RGB of the cube's size.
        second: from RGB to the cube.
        frozen: train the second only.
        pretrained: the first's weights: the folder of a trained model, a `.safetensors` file, or the
            name of a DVC experiment or Git revision whose model they are.

    Raises:
        UserError: the weights cannot be read, or are of another model.
    """

    def __init__(self, first: nn.Module, second: nn.Module, *, frozen: bool, pretrained: str | None):
        super().__init__(first, second)
        self.frozen = frozen
        if pretrained is not None:
            _load(first, pretrained)
        first.requires_grad_(not frozen)
        self.loaded = pretrained is not None
        self.register_load_state_dict_post_hook(_mark_loaded)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """The track's input → cubes (B, out_channels, H, W).

        Raises:
            UserError: the training would leave fresh weights as they are.
        """
        if self.training and self.frozen and not self.loaded:
            raise UserError(
                "The first network would stay at its random weights: it is 'frozen', and 'pretrained' is null. Name "
                "the first stage's experiment or folder there, or set 'frozen' to false."
            )
        first, second = self
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            rgb = first(x)
        # Autocast makes it half precision, which a network that leaves autocast could not take.
        cube: Tensor = second(rgb.to(x.dtype))
        return cube


def _mark_loaded(cascade: nn.Module, _: object) -> None:
    cascade.loaded = True  # type: ignore[assignment]


def _load(network: nn.Module, source: str) -> None:
    state = pretrained_weights.weights(source)
    told = faults(network.state_dict(), state)
    if told:
        raise UserError(
            f"'pretrained' names {source}, whose weights do not fit the first network (keys {told}): set n_blocks and "
            "n_split as they were in that training."
        )
    network.load_state_dict(state)


def infer(state: State, *, up: bool) -> dict[str, Any] | None:
    """The parameters that a published state dict was trained with; None for another family's."""
    first: Mapping[str, Any] | None = (revsci.infer_up if up else partial(revsci.infer, dimensions=3))(
        part(state, "0.")
    )
    second = mst.infer(part(state, "1."), up=False)
    return None if first is None or second is None else {**first, **second}


def _cascade(first: type[revsci.RevSCIRGB] | type[revsci.RevSCIRGBUp]) -> Callable[..., nn.Module]:
    """The factory of the cascade that begins with a network."""

    def factory(
        n_blocks: NonNegativeInt = 12,
        n_split: PositiveInt = 2,
        old_mode: bool = False,
        in_channels: PositiveInt = 3,
        out_channels: PositiveInt = 61,
        n_feat: PositiveInt = 61,
        stage: PositiveInt = 3,
        upscale_factor: PositiveInt | None = 1,
        frozen: bool = True,
        pretrained: str | None = None,
    ) -> nn.Module:
        """An input to RGB of the cube's size by `first`, then to a cube by `mst_plus_plus`; see `Cascade`."""
        second = mst.MSTPlusPlus(in_channels, out_channels, n_feat, stage, upscale_factor)
        return Cascade(first(n_blocks, n_split, old_mode), second, frozen=frozen, pretrained=pretrained)

    return factory


def _from_the_start(factory: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """A cascade's factory for both networks trained together, which leaves nothing to say about the first alone."""

    @wraps(factory)
    def joint(**params: Any) -> nn.Module:
        return factory(**params, frozen=False)

    signature = inspect.signature(factory, eval_str=True)
    kept = [value for name, value in signature.parameters.items() if name not in ("frozen", "pretrained")]
    joint.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return joint


_MOSAIC, _SMALL = _cascade(revsci.RevSCIRGB), _cascade(revsci.RevSCIRGBUp)
register("revsci_mstpp", feeds={1: Feed()}, infer=partial(infer, up=False))(_MOSAIC)
register("revsci_mstpp_up", feeds={2: Feed()}, infer=partial(infer, up=True))(_SMALL)
register("revsci_mstpp_no_pretrain", feeds={1: Feed()}, infer=partial(infer, up=False))(_from_the_start(_MOSAIC))
