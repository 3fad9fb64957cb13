"""A competition's files from Kaggle, by the user's account, unpacked into a data folder."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from hsengine.base import locks
from hsengine.base.errors import UserError
from hsengine.base.files import explaining, replacing
from hsengine.base.filling import completing


def competition(name: str, to: str | os.PathLike[str], archives: Mapping[str, str], *, again: bool = False) -> Path:
    """Download a competition's files into Kaggle's cache and unpack them into a data folder.

    Files and folders that are not in `archives` are copied as they are; what stands at their places is replaced.

    Args:
        name: of the competition, as its address has it.
        to: the data folder; made where it does not exist.
        archives: zip archives among the files -> the folder of `to` that each is unpacked into; none: it is left out.
        again: download even if Kaggle's cache has the files.

    Returns:
        The data folder.

    Raises:
        UserError: credentials are missing or refused, the rules are not accepted, the network or the disk fails, or
            an archive is damaged.
    """
    root = Path(to)
    source = _downloaded(name, again)
    with explaining(root):
        root.mkdir(parents=True, exist_ok=True)
    with locks.alone_in(root, wait=True), completing(root, f"the files of {name}"), explaining(root):
        for entry in sorted(source.iterdir()):
            if entry.name in archives:
                if archives[entry.name]:
                    _unpack(entry, root / archives[entry.name])
                continue
            with replacing(root / entry.name) as scratch:
                _ = shutil.copytree(entry, scratch) if entry.is_dir() else shutil.copyfile(entry, scratch)
    return root


def _downloaded(name: str, again: bool) -> Path:
    """The folder of Kaggle's cache that holds the files."""
    try:
        import kagglehub  # type: ignore[import-untyped]
    except ImportError:
        raise UserError("Downloads need the package kagglehub: pip install 'hyperobject-toolkit[tasks]'.") from None
    try:
        return Path(kagglehub.competition_download(name, force_download=again))
    # The library, its HTTP client and the disk have no class of errors in common.
    except Exception as error:
        raise failed(name, error, "download") from None


def failed(name: str, error: Exception, what: str) -> UserError:
    """What to tell the user of an error of Kaggle's client, by its kind."""
    from kagglehub.exceptions import UnauthenticatedError  # type: ignore[import-untyped]

    rules = f"https://www.kaggle.com/competitions/{name}/rules"
    if isinstance(error, UnauthenticatedError):
        return UserError(
            "No Kaggle credentials: make a token under https://www.kaggle.com/settings, save it as "
            f"~/.kaggle/kaggle.json or set KAGGLE_USERNAME and KAGGLE_KEY, and accept the rules at {rules}"
        )
    refused = getattr(getattr(error, "response", None), "status_code", None)
    if refused in (401, 403, 404):
        return UserError(
            f"Kaggle refuses this account the {what} of {name} (status {refused}): accept the rules at {rules}, "
            "and see that the token is a valid one."
        )
    return UserError(f"The {what} of {name} failed ({error or type(error).__name__}): try again.")


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as content, replacing(folder) as scratch:
            content.extractall(scratch)
    # RuntimeError: it is encrypted.
    except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise UserError(f"{archive} is damaged ({error}): download it anew with --again.") from None
