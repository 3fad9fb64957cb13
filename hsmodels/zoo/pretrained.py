"""Weights to start from: of a folder, a file, or an experiment that DVC keeps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from hsdata import paths
from hsengine.base.errors import UserError
from hsengine.folder import file_of

FILE = file_of("best")


def content(source: str) -> bytes:
    """The bytes of the best weights of a trained model.

    Args:
        source: the folder of a trained model, a `.safetensors` file, or else the name of a DVC experiment or a
            Git revision whose `outputs/model` is meant.

    Raises:
        UserError: there are none, or they cannot be read.
    """
    place = Path(source)
    if place.resolve().is_relative_to(paths.MODEL.resolve()):
        raise UserError(
            f"'pretrained' names {source}, where this training writes its own model and DVC clears the place first: "
            "give the name of the experiment that made it, or copy the folder elsewhere and name the copy."
        )
    if not place.exists():
        return _of_revision(source, Path.cwd())
    try:
        return (place / FILE if place.is_dir() else place).read_bytes()
    except OSError as error:
        raise _unreadable(source, error) from None


def weights(source: str) -> dict[str, Tensor]:
    """The weights themselves, by the network's keys; see `content`."""
    try:
        return safetensors.torch.load(content(source))
    except safetensors.SafetensorError as error:
        raise _unreadable(source, error) from None


def _unreadable(source: str, error: Exception) -> UserError:
    return UserError(
        f"'pretrained' names {source}, whose weights cannot be read ({error}): give the folder of a trained model, "
        "a .safetensors file, or the name of a DVC experiment."
    )


@lru_cache(maxsize=1)
def _of_revision(name: str, folder: Path) -> bytes:
    """The weights that a revision of the project in `folder` has; kept, as a training asks for them several times."""
    import dvc.api
    import dvc.scm
    import scmrepo.exceptions
    from dvc.exceptions import NotDvcRepoError

    file = (paths.MODEL / FILE).as_posix()
    reasons: list[Exception] = []
    for project in _projects(folder):
        try:
            found: bytes = dvc.api.read(file, repo=str(project), rev=name, mode="rb")
            return found
        except (dvc.scm.SCMError, scmrepo.exceptions.SCMError, NotDvcRepoError) as error:
            reasons.append(error)
        except Exception as error:  # of DVC, or of any store that the cache or a remote may be
            raise UserError(
                f"'pretrained' names {name}, but {file} of that revision cannot be read ({error}): it made no model, "
                "or DVC's cache has lost it; 'dvc pull' may bring it, or run that experiment again."
            ) from None
    raise UserError(
        f"'pretrained' names {name}, but there is no such file or folder, and no such experiment, branch or tag "
        f"({reasons[-1]}). 'dvc exp list' names the experiments: run that of the first stage ('dvc exp run -n {name}' "
        "with its recipe applied), or give another name or a model's folder."
    )


def _projects(folder: Path) -> Iterator[Path]:
    """The project, and the one that it is a copy of: `dvc exp run --temp` and `--queue` work below `.dvc`."""
    yield folder
    yield from (parent.parent for parent in folder.parents if parent.name == ".dvc")
