"""Where a trained model lies, and how it comes here: a folder, a folder of a hub's cache, or an address."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash, replacing
from hsengine.folder import CONFIG, FILES

# One slash where a path was made of an address.
_ADDRESS = re.compile(r"(https?|hf):/{1,2}(?=[^/])")
_HUB = re.compile(r"(?P<repository>[^@]+/[^@]+)(@(?P<revision>.+))?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WEIGHTS, _RECORD = "sha256", "config"
_BLOCK = 1 << 20
_TIMEOUT = 60.0


def is_address(source: str | os.PathLike[str]) -> bool:
    """Whether a model is to be fetched from elsewhere."""
    return _ADDRESS.match(os.fspath(source)) is not None


def shown(source: str | os.PathLike[str]) -> str:
    """A source as people write it."""
    text = os.fspath(source)
    found = _ADDRESS.match(text)
    return f"{found[1]}://{text[found.end() :]}" if found else Path(text).as_posix()


def local(source: str | os.PathLike[str], sha256: str | None = None) -> Path:
    """The folder of a trained model, brought here if it is elsewhere.

    Args:
        source: a folder that training wrote, or one of a hub's cache (`models--owner--name`, or a snapshot in it); the
            address of a `.safetensors` file beside whose place `config.json` lies, with its hash:
            `https://host/model.safetensors#sha256=...`, and `&config=...` for the SHA-256 of `config.json`; or
            `hf://owner/name@revision`, for which the package huggingface_hub is needed.
        sha256: the hash of the weights, where the address does not say it; weights in a folder are held to it too.

    Raises:
        UserError: the address has no hash or cannot be reached, what it gives has another hash, or the package is
            not installed.
    """
    text = shown(source)
    if text.startswith("hf://"):
        folder = _of_hub(text)
    elif is_address(text):
        return _fetched(text, sha256)
    else:
        folder = _snapshot(Path(source))
    if sha256 is not None:
        _check(folder / FILES["best"], _hash(sha256, "The hash"), text)
    return folder


def locals_of(sources: Sequence[str | os.PathLike[str]], sha256: str | None = None) -> list[Path]:
    """The folders of several models; see `local`.

    Raises:
        UserError: there is one hash for several models, or see `local`.
    """
    if sha256 is not None and len(sources) != 1:
        raise UserError("One hash cannot be that of several models: write #sha256= after each address.")
    return [local(source, sha256) for source in sources]


def _snapshot(place: Path) -> Path:
    """The files of a folder that a hub keeps a repository in; any other folder as it is."""
    if (place / CONFIG).exists() or not (place / "snapshots").is_dir():
        return place
    main = place / "refs" / "main"
    revisions = sorted(folder.name for folder in (place / "snapshots").iterdir() if folder.is_dir())
    chosen = main.read_text(encoding="utf-8", errors="replace").strip() if main.is_file() else ""
    if chosen not in revisions and len(revisions) == 1:
        chosen = revisions[0]
    if chosen not in revisions:
        raise UserError(
            f"{place} holds {len(revisions)} revisions of a model: name one, such as "
            f"{place / 'snapshots' / (revisions or ['REVISION'])[0]}."
        )
    return place / "snapshots" / chosen


def _of_hub(address: str) -> Path:
    """The files of a repository on the hub, from its cache where they are there."""
    found = _HUB.fullmatch(address.removeprefix("hf://"))
    if found is None:
        raise UserError(f"{address} names no repository: write hf://owner/name or hf://owner/name@revision.")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"{address} needs the package huggingface_hub ('pip install huggingface_hub'); or download the repository "
            "and name its folder."
        ) from None
    wanted = ["*.safetensors", CONFIG, "README.md"]
    try:
        return Path(snapshot_download(found["repository"], revision=found["revision"], allow_patterns=wanted))
    # Of the package's own errors, of its network library and of the cache's disk.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{address} cannot be fetched ({reason[0]}): check the name, the network and your login at the hub."
        ) from None


def _fetched(address: str, sha256: str | None) -> Path:
    """The folder in the user's state folder that holds the weights of an address and their record."""
    plain, fragment = urllib.parse.urldefrag(address)
    said = dict(urllib.parse.parse_qsl(fragment))
    given = said.get(_WEIGHTS, sha256)
    name = PurePosixPath(urllib.parse.urlsplit(plain).path).name
    if set(said) - {_WEIGHTS, _RECORD} or not name.endswith(".safetensors"):
        raise UserError(f"{address} is no address of a model: write https://.../model.safetensors#sha256=HASH.")
    if given is None:
        raise UserError(
            f"{address} comes without a hash: add #sha256= and what 'sha256sum {name}' says where it was trained, so "
            "that no other weights are taken."
        )
    if sha256 is not None and given.lower() != sha256.lower():
        raise UserError(f"{address} and the hash beside it do not agree: leave one out.")
    weights = _hash(given, address)
    record = _hash(said[_RECORD], address) if _RECORD in said else None
    # Another name is that of the weights that were asked for.
    file = name if name in FILES.values() else FILES["best"]
    key = hashlib.blake2b(f"{plain}\n{weights}\n{record}".encode(), digest_size=16).hexdigest()
    folder = paths.state_folder() / "models" / key
    if (folder / CONFIG).is_file() and (folder / file).is_file() and file_hash(folder / file, "sha256") == weights:
        return folder
    _make(folder.parent)
    with replacing(folder) as scratch:
        scratch.mkdir()
        for part, source, wanted in (
            (file, plain, weights),
            (CONFIG, urllib.parse.urljoin(plain, CONFIG), record),
        ):
            _download(source, scratch / part)
            if wanted is not None:
                _check(scratch / part, wanted, source)
    return folder


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UserError(
            f"{folder} cannot hold what is fetched ({error.strerror}): set HYPEROBJECT_STATE to a folder that can be "
            "written."
        ) from None


def _hash(text: str, where: str) -> str:
    if not _SHA256.fullmatch(text.lower()):
        raise UserError(f"{where}: '{text}' is no SHA-256, which has 64 digits from 0 to 9 and a to f.")
    return text.lower()


def _check(file: Path, wanted: str, source: str) -> None:
    """Refuse a file with another content than was meant."""
    found = file_hash(file, "sha256") if file.is_file() else "none: there is no such file"
    if found != wanted:
        raise UserError(
            f"{source}: the SHA-256 of {file.name} is {found}, but {wanted} was asked for. It is another model or "
            "damaged, and was not taken."
        )


def _download(address: str, to: Path) -> None:
    """Write what an address gives, whole."""
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "hyperobject-toolkit"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response, to.open("wb") as stream:
            length = response.headers.get("Content-Length")
            size = int(length) if length and length.isdecimal() else None
            with tqdm.wrapattr(response, "read", size, desc=f"fetching {to.name}", leave=False, disable=None) as read:
                shutil.copyfileobj(read, stream, _BLOCK)
    except urllib.error.HTTPError as error:
        raise UserError(f"{address}: the server answers {error.code} ({error.reason}): check the address.") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"{address} cannot be reached ({reason}): check the address and the network, or copy the model's folder "
            "here and name it."
        ) from None
    if size is not None and to.stat().st_size != size:
        raise UserError(f"{address} broke off after {to.stat().st_size:,} of {size:,} bytes: try again.")
