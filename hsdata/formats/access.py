"""Files that lie behind a URL, and what to say where a file cannot be got at."""

from __future__ import annotations

import os
from io import BytesIO

from hsengine.base.errors import UserError


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether `path` names a place that fsspec reads (`http://`, `s3://`, `memory://`) rather than a local file."""
    return isinstance(path, str) and "://" in path


def fetched(url: str) -> BytesIO:
    """All the bytes of a file at a URL."""
    import fsspec

    system, path = fsspec.core.url_to_fs(url)
    return BytesIO(system.cat_file(path))


def access_error(source: str, error: Exception) -> UserError | None:
    """What to tell the user where a file could not be got at; None where its content is to blame."""
    if isinstance(error, PermissionError):
        return UserError(f"{source} cannot be read: check its permissions.")
    if isinstance(error, ImportError):
        return UserError(f"{source} needs a package that is not installed: {error}")
    if is_url(source) and isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return UserError(f"{source} cannot be reached ({error}): check the address and the connection.")
    return None
