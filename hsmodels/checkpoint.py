"""A trained model of the zoo, from its folder; `hsengine.folder` says how that is laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field
from torch import nn

from hsdata import paths
from hsdata.layout import Input, Track
from hsengine import folder as folders
from hsengine import sources
from hsengine.base.errors import UserError
from hsengine.export.description import is_exported
from hsmodels import exported, zoo

Which = Literal["best", "last"]
HELD_OUT = "held_out"
"""Entry of the record: the ids of the samples that were held out."""

# In nm; no imaging spectrometer measures beyond 100 µm.
Wavelength = Annotated[float, Field(gt=0.0, le=100_000.0)]


class Model(folders.Model):
    """The network, and what it is put into; see `zoo.for_track`."""

    residual: str = "none"
    stripes: int = Field(0, ge=0, le=1_000_000)
    basis: int = Field(0, ge=0, le=1_000_000)


class Params(folders.Open):
    """Of the parameters that it was trained with, the section that says how it is applied."""

    predict: dict[str, Any] = Field(default_factory=dict)


class Record(folders.Record):
    """What is read of `config.json`."""

    model: Model
    params: Params = Params()
    track: Track
    input: Input = "track"
    wavelengths: list[Wavelength] = Field(min_length=1)


def load(
    source: str | Path = paths.MODEL, which: Which = "best", *, sha256: str | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A trained model and its record.

    Args:
        source: a folder that training wrote, a hub's copy of one, or an address with a hash (see
            `hsengine.sources.local`); or a file that `export` wrote.
        which: `best`, the checkpoint with the best watched measure, or `last`; a file holds one.
        sha256: of the weights, where the address does not say it.

    Returns:
        The model in evaluation mode on the CPU, taking the track's batches: (B, 1, H, W) mosaics or
        (B, 3, H, W) RGB in [0, 1], of the cube's size where the record's `input` is `rgb_full`. And the content of
        `config.json`, with the chosen checkpoint's part of it under `checkpoint`.

    Raises:
        UserError: the folder is not a trained model's, or its weights are of another model; or see
            `hsengine.sources.local`.
    """
    if which not in get_args(Which):
        raise UserError(f"There is no checkpoint '{which}'; choose 'best' or 'last'.")
    folder = sources.local(source, sha256)
    if is_exported(folder):
        return exported.model(folder), folders.record(folder)
    read, weights = folders.read(folder, Record), folders.state(folder, which)
    made = read.model
    model = zoo.for_track(
        made.name,
        read.track,
        made.params,
        bands=len(read.wavelengths),
        trained=True,
        residual=made.residual,
        stripes=made.stripes,
        basis=made.basis,
        input=read.input,
    )
    folders.fill(zoo.inner(model), weights, folder / folders.file_of(which), made.name)
    return model.eval(), folders.record(folder) | {"checkpoint": {"which": which, **read.checkpoints.get(which, {})}}
