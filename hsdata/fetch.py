"""The challenge's data from Kaggle: download that can be resumed, check, unpack into the layout."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tqdm import tqdm

from hsdata import layout
from hsengine.base import locks
from hsengine.base.errors import UserError
from hsengine.base.files import remove_scratch, replacing, write_text
from hsengine.base.filling import begun, completing
from hsengine.base.reading import parsed_json

KAGGLE = "https://www.kaggle.com/api/v1"
COMPETITIONS = {track: f"2026-icassp-hyper-object-challenge-track-{track}" for track in layout.SCALE}

_BLOCK = 1 << 20
_ATTEMPTS = 5
_TIMEOUT = 60.0
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass
class Fetched:
    """What a fetch unpacked."""

    root: Path
    track: int
    unpacked: int = 0
    present: int = 0
    samples: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {split}" for split, count in self.samples.items()) or "no samples"
        return (
            f"track {self.track} in {self.root}: {counts}\n"
            f"  {self.unpacked} files unpacked, {self.present} were there already"
        )


class _SameHostCredentials(urllib.request.HTTPRedirectHandler):
    """Follow redirections; the store that Kaggle points to must not see the credentials."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        if request is not None and request.host != req.host:
            request.remove_header("Authorization")
        return request


def fetch(
    track: int,
    to: str | os.PathLike[str],
    *,
    base_url: str = KAGGLE,
    again: bool = False,
    keep_archive: bool = False,
) -> Fetched:
    """Download the challenge's archive of a track and unpack it into a data folder.

    An interrupted download is resumed by the next call, and so is the unpacking. The archive lies in the data
    folder until it is unpacked.

    Args:
        track: 1 or 2.
        to: the data folder; made where it does not exist.
        base_url: Kaggle's programming interface, or a stand-in of it.
        again: download even if the track or its archive is there.
        keep_archive: leave the archive where it is.

    Raises:
        UserError: credentials are missing or refused, the competition's rules are not accepted, the network
            or the disk fails, or the archive is damaged.
    """
    if track not in COMPETITIONS:
        raise UserError(f"There is no track {track}: choose {' or '.join(map(str, COMPETITIONS))}.")
    root = Path(to)
    name = COMPETITIONS[track]
    archive = root / f"{name}.zip"
    partial = root / f"{name}.zip.partial"
    login = ("", "")
    if again or not archive.exists():
        _check_absent(root, track, again or partial.exists())
        login = credentials(name)
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{root} cannot be made ({error.strerror}).") from None
    with locks.alone_in(root, wait=True):
        remove_scratch(root)
        if again or not archive.exists():
            # Another fetch may have been waited for.
            _check_absent(root, track, again or partial.exists())
            _download(f"{base_url.rstrip('/')}/competitions/data/download-all/{name}", partial, name, login)
            _check_archive(partial)
            partial.replace(archive)
        done = _unpack(archive, root, track)
        done.samples = _samples(root, track)
        if not keep_archive:
            archive.unlink()
    return done


def _check_absent(root: Path, track: int, unless: bool) -> None:
    if not unless and begun(root) is None and _samples(root, track):
        raise UserError(f"{root} holds track {track} already ({_shown(_samples(root, track))}): nothing was fetched.")


def credentials(competition: str) -> tuple[str, str]:
    """The user's name and key at Kaggle, from the environment or Kaggle's file.

    Raises:
        UserError: there are none; says where to get them and what else is needed.
    """
    user, key = os.environ.get("KAGGLE_USERNAME", ""), os.environ.get("KAGGLE_KEY", "")
    if user and key:
        return user, key
    folder = os.environ.get("KAGGLE_CONFIG_DIR")
    file = (Path(folder) if folder else Path.home() / ".kaggle") / "kaggle.json"
    how = (
        f"Make a token under https://www.kaggle.com/settings ('Create New Token'), save it as {file} or set "
        "KAGGLE_USERNAME and KAGGLE_KEY, and accept the competition's rules at "
        f"https://www.kaggle.com/competitions/{competition}/rules"
    )
    if not file.is_file():
        missing = [name for name, value in (("KAGGLE_USERNAME", user), ("KAGGLE_KEY", key)) if not value]
        unset = " and ".join(missing) + (" are" if len(missing) > 1 else " is")
        raise UserError(f"No Kaggle credentials: {unset} not set and there is no {file}. {how}")
    try:
        content = parsed_json(file, "a token of Kaggle", f"{how}.")
        return str(content["username"]), str(content["key"])
    except (KeyError, TypeError):
        raise UserError(f"{file} holds no 'username' and 'key'. {how}") from None


def _download(url: str, partial: Path, name: str, login: tuple[str, str]) -> None:
    """Fill `partial` to its end, in as many attempts as make progress."""
    failures = 0
    while True:
        before = _size(partial)
        try:
            if _continue(url, partial, name, login):
                return
            reason = "the connection was closed early"
        except urllib.error.HTTPError as error:
            raise UserError(_explained(error, name, partial)) from None
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        failures = 0 if _size(partial) > before else failures + 1
        if failures >= _ATTEMPTS:
            kept = f"; {_size(partial):,} bytes are kept, run the command again to resume" if _size(partial) else ""
            raise UserError(f"The download of {name} failed ({reason}){kept}.")
        time.sleep(min(2.0**failures - 1.0, 10.0))


def _continue(url: str, partial: Path, name: str, login: tuple[str, str]) -> bool:
    """Request what is missing and append it; whether the archive is complete then."""
    have = _size(partial)
    token = base64.b64encode(":".join(login).encode()).decode()
    headers = {"Authorization": f"Basic {token}", "User-Agent": "hsdata"}
    if have:
        headers["Range"] = f"bytes={have}-"
        # A changed archive comes whole instead of as a continuation of the old one.
        with contextlib.suppress(FileNotFoundError):
            headers["If-Range"] = _tag_file(partial).read_text(encoding="utf-8")
    opener = urllib.request.build_opener(_SameHostCredentials)
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range") or "")
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise
        if total and int(total.group(1)) == have:
            return True
        partial.unlink()
        return False
    with response:
        start, total_size = _extent(response, have)
        _check_space(partial.parent, None if total_size is None else total_size - start)
        if not start:
            # Bytes of another version are gone before the new one's tag stands beside them.
            partial.write_bytes(b"")
        if tag := response.headers.get("ETag"):
            write_text(_tag_file(partial), tag)
        else:
            _tag_file(partial).unlink(missing_ok=True)
        with (
            partial.open("r+b") as stream,
            tqdm(
                desc=name, initial=start, total=total_size, unit="B", unit_scale=True, disable=None, leave=False
            ) as progress,
        ):
            stream.seek(start)
            stream.truncate()
            while block := response.read(_BLOCK):
                try:
                    stream.write(block)
                except OSError as error:
                    raise UserError(
                        f"{partial} cannot be written ({error.strerror}): free space and run again."
                    ) from None
                progress.update(len(block))
    return total_size is None or _size(partial) == total_size


def _extent(response: Any, have: int) -> tuple[int, int | None]:
    """Where the response's bytes belong, and the size of the whole archive where it is told."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range") or "")
        if found is None or int(found.group(1)) != have:
            raise http.client.HTTPException("the server sent another part than was asked for")
        return have, None if found.group(2) == "*" else int(found.group(2))
    length = response.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _explained(error: urllib.error.HTTPError, name: str, partial: Path) -> str:
    rules = f"https://www.kaggle.com/competitions/{name}/rules"
    texts = {
        401: "Kaggle refused the credentials: make a new token under https://www.kaggle.com/settings.",
        403: f"Kaggle does not let this account download {name}: join the competition and accept its rules at {rules}",
        404: f"Kaggle knows no competition {name}, or this account may not see it: open {rules}",
        429: "Kaggle asks to wait, there were too many requests: try again in some minutes.",
    }
    kept = f" What was downloaded is kept in {partial}." if _size(partial) else ""
    return texts.get(error.code, f"Kaggle answered with status {error.code} ({error.reason}): try again later.") + kept


def _check_archive(partial: Path) -> None:
    """That the download is an archive with a readable list of contents."""
    try:
        with zipfile.ZipFile(partial) as archive:
            archive.infolist()
    except zipfile.BadZipFile as error:
        partial.unlink()
        _tag_file(partial).unlink(missing_ok=True)
        raise UserError(
            f"What was downloaded is no zip archive ({error}); it was removed, run the command again."
        ) from None
    _tag_file(partial).unlink(missing_ok=True)


def _unpack(archive: Path, root: Path, track: int) -> Fetched:
    """Unpack file by file; each is checked against its checksum and appears whole."""
    done = Fetched(root, track)
    with zipfile.ZipFile(archive) as content:
        members = [member for member in content.infolist() if not member.is_dir() and not _is_litter(member.filename)]
        places = _places([member.filename for member in members], track)
        todo = []
        for member in members:
            target = root / places[member.filename]
            if target.is_file() and target.stat().st_size == member.file_size:
                done.present += 1
            elif target.exists():
                raise UserError(f"{target} differs from the archive's file: move it away and run the command again.")
            else:
                todo.append((member, target))
        _check_space(root, sum(member.file_size for member, _ in todo))
        with completing(root, f"the files of {archive.stem}"):
            _write(content, todo, archive)
        done.unpacked = len(todo)
    return done


def _write(content: zipfile.ZipFile, todo: list[tuple[zipfile.ZipInfo, Path]], archive: Path) -> None:
    total = sum(member.file_size for member, _ in todo)
    with tqdm(desc="unpacking", total=total, unit="B", unit_scale=True, disable=None, leave=False) as progress:
        for member, target in todo:
            try:
                with content.open(member) as source, replacing(target) as scratch, scratch.open("wb") as stream:
                    while block := source.read(_BLOCK):
                        stream.write(block)
                        progress.update(len(block))
            # RuntimeError: it is encrypted; NotImplementedError: it is packed in an unknown way.
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
                # What is left of it tells the next call that the track is not complete.
                archive.replace(partial := archive.with_name(f"{archive.name}.partial"))
                partial.write_bytes(b"")
                raise UserError(
                    f"{member.filename} is damaged in the archive ({error}); the archive was removed, run the "
                    "command again to download it anew."
                ) from None


def _places(names: list[str], track: int) -> dict[str, PurePosixPath]:
    """Where each file of the archive belongs below the data folder.

    Folders above the splits are taken off, and splits get their own names.
    """
    aliases = {alias: split for split, others in layout.SPLIT_ALIASES.items() for alias in others}
    places: dict[str, PurePosixPath] = {}
    parts_of = {name: PurePosixPath(name.replace("\\", "/")).parts for name in names}
    tops = {parts[0] for parts in parts_of.values() if len(parts) > 1}
    alone = len(tops) == 1 and all(len(parts) > 1 for parts in parts_of.values())
    for name, parts in parts_of.items():
        if ".." in parts or parts[0].endswith(":") or parts[0] == "/":
            raise UserError(
                f"The archive holds '{name}', which would lie outside of the data folder; it was not unpacked."
            )
        lower = [part.lower().replace("_", "-") for part in parts[:-1]]
        at = next((n for n, part in enumerate(lower) if part in layout.SPLITS or part in aliases), None)
        own = next((int(part[5:]) for part in lower[:at] if part in ("track1", "track2")), track)
        if at is None:
            rest = parts[1:] if alone else parts
            rest = rest[1:] if len(rest) > 1 and rest[0].lower() in ("track1", "track2") else rest
            places[name] = PurePosixPath(f"track{own}", *rest)
        else:
            split = aliases.get(lower[at], lower[at])
            places[name] = PurePosixPath(f"track{own}", split, *parts[at + 1 :])
    double = [str(place) for place, count in Counter(places.values()).items() if count > 1]
    if double:
        raise UserError(f"The archive holds {double[0]} twice, in different folders; unpack it by hand.")
    return places


def _is_litter(name: str) -> bool:
    """Whether a file only serves the desktop that the archive was packed on."""
    parts = PurePosixPath(name).parts
    return (
        parts[0] == "__MACOSX" or parts[-1] in (".DS_Store", "Thumbs.db", "desktop.ini") or parts[-1].startswith("._")
    )


def _samples(root: Path, track: int) -> dict[str, int]:
    """How many inputs each split of the track has."""
    counts = {
        split: len(layout.files_of(layout.split_folder(root, track, split), layout.INPUT_MODALITY[track]))
        for split in layout.SPLITS
    }
    return {split: count for split, count in counts.items() if count}


def _shown(samples: dict[str, int]) -> str:
    return ", ".join(f"{count} {split}" for split, count in samples.items())


def _check_space(folder: Path, needed: int | None) -> None:
    free = shutil.disk_usage(folder).free
    if needed is not None and needed > free:
        raise UserError(
            f"{needed / 1e9:.1f} GB are needed in {folder} but only {free / 1e9:.1f} GB are free: make room and run "
            "the command again."
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tag_file(partial: Path) -> Path:
    """The version of the archive that the partial download belongs to."""
    return partial.with_name(f"{partial.name}.etag")
