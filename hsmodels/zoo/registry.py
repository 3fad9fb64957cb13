"""Which models there are, what they may be told, and which track's input they take."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeVar

from pydantic import create_model
from torch import Tensor, nn

from hsdata.cube import BAND_GRID
from hsdata.layout import CUBES, INPUT_MODALITY, MODALITIES, Input, Target, modality_of
from hsengine.base.errors import UserError
from hsengine.base.params import Section, validated
from hsengine.base.wording import meant
from hsmodels.zoo.basis import Basis, OnBasis
from hsmodels.zoo.composed import Residual, Striped

__loads__ = ("hsmodels.zoo.*",)

Factory = TypeVar("Factory", bound=Callable[..., nn.Module])
State = Mapping[str, Tensor]
Key = int | Literal["rgb_full"]
"""A track, for its own input, or another input of `hsdata.layout.MODALITIES`."""
Placed = tuple[int, str, dict[str, Any]]
"""A track, and the name and parameters of the model that takes its batches."""

_BANDS = len(BAND_GRID)


@dataclass(frozen=True)
class Feed:
    """How the batch of one track, or of another input, enters a model.

    Attributes:
        prepare: makes the model's input from the batch; None where that is the batch itself.
        fixed: parameters that the input decides.
        defaults: parameters whose default differs from the model's own when it works on this input.
    """

    prepare: Callable[[Tensor], Tensor] | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One row of the registry; see `register`."""

    name: str
    factory: Callable[..., nn.Module]
    feeds: Mapping[Key, Feed]
    target: Target
    bands: str | None
    infer: Callable[[State], dict[str, Any] | None] | None
    elsewhere: Callable[[Mapping[str, Any]], Placed | None]

    @property
    def schema(self) -> type[Section]:
        """The factory's signature as a validated section of `params.yaml`."""
        return _schema(self.factory)

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` completed with the defaults.

        Raises:
            UserError: names each parameter that is unknown or ill-typed, and what is allowed.
        """
        checked = validated(self.schema, dict(given), f"The parameters of model '{self.name}'")
        return {key: getattr(checked, key) for key in type(checked).model_fields}


class Fed(nn.Module):
    """A network behind the step that makes its input from a track's batch.

    Attributes:
        net: the network itself, with the state keys of published checkpoints.
    """

    def __init__(self, net: nn.Module, prepare: Callable[[Tensor], Tensor]):
        super().__init__()
        self.net = net
        self.prepare = prepare

    def forward(self, batch: Tensor) -> Tensor:
        """The network's output for a track's batch."""
        output: Tensor = self.net(self.prepare(batch))
        return output


_ENTRIES: dict[str, Entry] = {}


def register(
    name: str,
    *,
    feeds: Mapping[Key, Feed],
    target: Target = CUBES,
    bands: str | None = "out_channels",
    infer: Callable[[State], dict[str, Any] | None] | None = None,
    elsewhere: Callable[[Mapping[str, Any]], Placed | None] = lambda params: None,
) -> Callable[[Factory], Factory]:
    """Put a model under `name` into the registry.

    The factory's signature is the list of the model's parameters: annotate each one
    (pydantic's constrained types are understood) and give it a default.

    Args:
        name: the name in `params.yaml`.
        feeds: track, or other input → how its batch enters the model.
        target: modality that the model predicts.
        bands: the parameter that holds the number of bands; None where it has none.
        infer: reads the parameters off a published state dict; None for one of another family.
        elsewhere: which model of the same state keys takes a track's batches, for parameters that none of `feeds` has.
    """

    def add(factory: Factory) -> Factory:
        _ENTRIES[name] = Entry(name, factory, feeds, target, bands, infer, elsewhere)
        return factory

    return add


@cache
def _schema(factory: Callable[..., nn.Module]) -> type[Section]:
    fields: dict[str, Any] = {
        key: (parameter.annotation, parameter.default)
        for key, parameter in inspect.signature(factory, eval_str=True).parameters.items()
    }
    return create_model("Parameters", __base__=Section, **fields)


@cache
def entries() -> Mapping[str, Entry]:
    """The registry, after every family's file has been read."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
    return dict(sorted(_ENTRIES.items()))


def part(state: State, prefix: str) -> dict[str, Tensor]:
    """The entries of a state dict below a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def names(track: int | None = None, input: Input = "track") -> list[str]:
    """The models' names, or those that take the input of `track`, or another input."""
    return [name for name, entry in entries().items() if track is None or _key(track, input) in entry.feeds]


def _key(track: int, input: Input) -> Key:
    return track if input == "track" else input


def entry(name: str) -> Entry:
    """The registry's row of a model.

    Raises:
        UserError: there is no such model.
    """
    if name in entries():
        return entries()[name]
    hint = meant(name, names()) or "there are others:"
    raise UserError(f"There is no model '{name}'; {hint} {', '.join(names())}.")


def target_of(name: str) -> Target:
    """The modality that a model predicts: cubes, or full-size RGB where it is a first stage to pre-train."""
    return entry(name).target


def title(model: Mapping[str, Any]) -> str:
    """What a model is, in words: `mstpp over kernel_ridge with stripes`.

    Args:
        model: `name`, and what it is put into as `for_track` takes it, as the record of a training has it.
    """
    residual, stripes, basis = model.get("residual", "none"), model.get("stripes", 0), model.get("basis", 0)
    on = f" on {basis} spectra" if basis else ""
    return f"{model['name']}{on}{'' if residual == 'none' else f' over {residual}'}{' with stripes' if stripes else ''}"


def is_trained(name: str) -> bool:
    """Whether a model is trained by descent; those in closed form are solved for."""
    return not getattr(entry(name).factory, "closed_form", False)


def on_track(name: str, params: Mapping[str, Any]) -> Placed | None:
    """The track that feeds a model of these parameters, with the model's name and parameters there; None without."""
    row = entry(name)
    for track, feed in row.feeds.items():
        if isinstance(track, int) and all(params.get(key, value) == value for key, value in feed.fixed.items()):
            return track, name, {**feed.defaults, **params}
    return row.elsewhere(params)


def build(name: str, **params: Any) -> nn.Module:
    """Make a model as published, with fresh weights.

    Args:
        name: one of `names()`.
        **params: its parameters; a `model_name` among them, as published configurations hold it, must agree.

    Raises:
        UserError: the model or a parameter is unknown, or a value is not allowed.
    """
    row = entry(name)
    stated = params.pop("model_name", name)
    if stated != name:
        raise UserError(f"The configuration is of model '{stated}', not of '{name}': build '{stated}' with it.")
    return row.factory(**row.parameters(params))


def for_track(
    name: str,
    track: int,
    params: Mapping[str, Any],
    *,
    bands: int = _BANDS,
    trained: bool = False,
    residual: str = "none",
    stripes: int = 0,
    basis: int = 0,
    input: Input = "track",
) -> nn.Module:
    """Make a model that takes the batches of a track, or of another input.

    Args:
        name: one of `names(track, input)`.
        track: 1 takes RGGB planes (B, 1, H, W) in [0, 1]; 2 takes RGB (B, 3, H/2, W/2) in [0, 1].
        params: the model's own parameters, where they differ from the defaults.
        bands: bands of the cube, where `params` does not say.
        trained: weights will be loaded into the model, so that a part's `pretrained` weights need not exist.
        residual: the closed-form model, with its default parameters, that the model corrects; "none" for none.
        stripes: columns of the widest frame, where a bias for each column and band is learned; 0 for none.
        basis: principal components of the training's spectra that the model weighs; 0 where it gives bands.
        input: `rgb_full` takes RGB (B, 3, H, W) in [0, 1] instead of the track's input.

    Returns:
        A module from the batch to (B, bands, H, W), unclamped; to (B, 3, H, W) where `target_of(name)` is RGB.

    Raises:
        UserError: the model cannot take the input, or see `build`.
    """
    if residual != "none" or stripes or basis:
        around = (residual, stripes, basis)
        return _composed(name, track, params, *around, bands=bands, trained=trained, input=input)
    row = entry(name)
    feed = row.feeds.get(_key(track, input))
    if feed is None:
        what = MODALITIES[modality_of(track, input)].what if track in INPUT_MODALITY else "which does not exist"
        raise UserError(
            f"Model '{name}' cannot take {_called(track, input)}, {what}: "
            f"choose one of {', '.join(names(track, input)) or 'the tracks 1 and 2'}."
        )
    where = f"on track {track}" if input == "track" else f"for the input {input}"
    for key, value in feed.fixed.items():
        if params.get(key, value) != value:
            raise UserError(
                f"Parameter '{key}' of model '{name}' is {value!r} {where}, not {params[key]!r}: leave it out."
            )
    given = {**feed.defaults, **params, **feed.fixed}
    if row.bands is not None:
        given.setdefault(row.bands, bands)
    if trained:
        given.pop("pretrained", None)
    net = build(name, **given)
    return net if feed.prepare is None else Fed(net, feed.prepare)


def _called(track: int, input: Input) -> str:
    return f"the input of track {track}" if input == "track" else f"the input {input}"


def _composed(
    name: str,
    track: int,
    params: Mapping[str, Any],
    residual: str,
    stripes: int,
    basis: int,
    *,
    bands: int,
    trained: bool,
    input: Input,
) -> nn.Module:
    row, off = entry(name), "set 'residual' to none, 'stripes' to false and 'basis' to 0"
    if not is_trained(name):
        raise UserError(f"'{name}' is solved for, not trained: {off}.")
    if row.target != CUBES:
        raise UserError(f"'{name}' predicts RGB, not cubes: {off}.")
    if basis > bands:
        raise UserError(f"basis: {basis} spectra cannot be independent, as cubes have {bands} bands: at most {bands}.")
    if basis and (row.bands is None or row.bands in params):
        told = f"leave its parameter '{row.bands}' out" if row.bands else "it has no parameter for its bands"
        raise UserError(f"basis: '{name}' cannot give {basis} components instead of bands: {told}.")
    model = for_track(name, track, params, bands=basis or bands, trained=trained, input=input)
    spectra = Basis(bands, basis) if basis else None
    if residual != "none":
        base = for_track(residual, track, {}, bands=bands, input=input)
        if not is_closed_form(base):
            closed = [known for known in names(track, input) if not is_trained(known)]
            raise UserError(f"residual: '{residual}' is not solved for in closed form: choose {', '.join(closed)}.")
        model = Residual(model, base, bands, spectra)
    elif spectra is not None:
        model = OnBasis(model, spectra)
    return Striped(model, bands, stripes) if stripes else model


def base_of(model: nn.Module) -> nn.Module | None:
    """The closed-form model that a trained one corrects, to be solved for by `fit` before training; None without."""
    return next((part.base for part in model.modules() if isinstance(part, Residual)), None)


def is_closed_form(model: nn.Module) -> bool:
    """Whether the network of what `for_track` or `build` made is solved for by `fit`, not trained by descent."""
    return bool(getattr(inner(model), "closed_form", False))


def fit(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Solve for a closed-form model in one pass.

    Args:
        model: what `for_track` or `build` made of a closed-form model.
        batches: pairs of what the model takes and the cubes (B, bands, H, W) that it should make of it.
    """
    network: Any = inner(model)
    prepare = model.prepare if isinstance(model, Fed) else lambda batch: batch
    network.fit((prepare(given), cube) for given, cube in batches)


def inner(model: nn.Module) -> nn.Module:
    """The network itself, with the published state keys, of what `for_track` or `build` made."""
    return model.net if isinstance(model, Fed) else model
