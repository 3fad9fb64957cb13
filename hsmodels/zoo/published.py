"""Published checkpoints: read without running code, recognised by their shapes, verified key by key."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.dtypes import BoolDType, Float32DType, Float64DType, Int64DType
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.base.reading import check_kind
from hsengine.base.wording import some
from hsengine.folder import faults
from hsmodels.zoo import registry

# Where a checkpoint's state dict stands, beside the epoch and the optimiser's state.
_PLACES = ("model", "state_dict", "model_state_dict", "net")
# What wrappers put before every key.
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
# Plain values that training scripts leave in checkpoints; none of them runs anything when read.
_SCALAR = np.float64(0.0).__reduce__()[0]
_HARMLESS: list[Any] = [
    argparse.Namespace, np.dtype, BoolDType, Float32DType, Float64DType, Int64DType,
    _SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"),
]  # fmt: skip
_SHOWN = 5


def import_checkpoint(path: str | Path, name: str | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """Read a published checkpoint.

    Args:
        path: `.tar`, `.pt` or `.pth`, holding a state dict or a dict with one; or `.safetensors`.
        name: the model, where several have the same keys; None takes the one that the checkpoint
            names, else the first whose shapes fit.

    Returns:
        The model in evaluation mode, and its configuration: `model_name` and the parameters of `zoo.build`.

    Raises:
        UserError: the file cannot be read without running code, or no model fits it key by key.
    """
    file = Path(path)
    content = _read(file)
    state = _plain(_state(content, file))
    chosen, params = _recognised(state, name or _named(content), file)
    model = registry.build(chosen, **params)
    told = faults(model.state_dict(), state)
    if told:
        raise UserError(f"{file} looks like {chosen}, but does not fit it: keys {told}. Get the file again.")
    model.load_state_dict(state)
    return model.eval(), {"model_name": chosen, **params}


def _read(file: Path) -> Any:
    check_kind(file)
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"There is no checkpoint {file}: check the path.") from None
    except pickle.UnpicklingError as error:
        if "weights only load failed" in str(error).lower():
            raise UserError(
                f"{file} holds more than tensors and plain values; reading it would run its code, which is refused. "
                "Save its state dict alone and import that."
            ) from None
        raise UserError(f"{file} is not a checkpoint, or is damaged: get the file again.") from None
    except Exception as error:  # bytes that are no checkpoint make the reader raise anything
        raise UserError(f"{file} is not a checkpoint, or is damaged ({error}): get the file again.") from None


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(v, Tensor) for v in value.values())


def _state(content: Any, file: Path) -> Mapping[str, Tensor]:
    places = [content[key] for key in _PLACES if key in content] if isinstance(content, Mapping) else []
    for value in (content, *places):
        if _is_state(value):
            state: Mapping[str, Tensor] = value
            return state
    raise UserError(f"{file} holds no state dict, neither bare nor under one of {', '.join(_PLACES)}: save one.")


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state without the prefixes that wrappers put before every key."""
    for prefix in _WRAPPERS:
        if all(key.startswith(prefix) for key in state):
            return _plain(registry.part(state, prefix))
    return dict(state)


def _named(content: Any) -> str | None:
    """The model that a checkpoint's own configuration names, where it is one of ours."""
    if not isinstance(content, Mapping):
        return None
    config = content.get("config")
    named = config.get("model_name") if isinstance(config, Mapping) else content.get("model_name")
    return named if isinstance(named, str) and named in registry.names() else None


def _recognised(state: Mapping[str, Tensor], name: str | None, file: Path) -> tuple[str, dict[str, Any]]:
    rows = [registry.entry(name)] if name else list(registry.entries().values())
    for row in rows:
        try:
            params = row.infer(state) if row.infer else None
        except KeyError as error:
            raise UserError(f"{file} looks like {row.name}, but its key {error} is missing.") from None
        if params is not None:
            return row.name, params
    raise UserError(
        f"{file} is not a checkpoint of {name or 'a known model'}: its first keys are {some(list(state), _SHOWN)}. "
        f"Give one of {', '.join(row.name for row in registry.entries().values() if row.infer)}."
    )
