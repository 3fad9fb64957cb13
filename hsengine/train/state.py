"""A training's state on disk: two generations, found again by what the training is made of."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from hsengine.base import locks
from hsengine.base.errors import UserError
from hsengine.base.files import write_json
from hsengine.base.params import flat
from hsengine.base.reading import parsed_json, reason
from hsengine.base.wording import some

_ABOUT = "about.json"
_KEPT_DAYS = 30
_GENERATIONS = 2


@dataclass(frozen=True)
class Identity:
    """What a training's numbers follow from; two trainings of one identity are the same training.

    Attributes:
        configuration: the parameters that matter, plain values.
        code: hash of the code that matters.
        data: hash of the samples and of who is held out.
    """

    configuration: Mapping[str, Any]
    code: str
    data: str

    @property
    def key(self) -> str:
        """The name of its folder."""
        text = json.dumps([self.configuration, self.code, self.data], sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def differences(self, about: Mapping[str, Any]) -> list[str]:
        """Where a record that `StateFolder` wrote differs: keys of the parameters, `code`, `data`."""
        # As the record holds it: JSON turns tuples into lists and all keys into text.
        mine = flat(json.loads(json.dumps(self.configuration, default=str)))
        theirs = flat(about.get("configuration", {}))
        found = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
        if about.get("code") != self.code:
            found.append("the code")
        if about.get("data") != self.data:
            found.append("the data")
        return found


class StateFolder:
    """The folder of one training's state, locked while the training runs.

    A state is a `.pt` file, numbered upwards; the last two are kept. Another running training of the
    same identity in another project has a folder of its own.

    Args:
        root: the folder of all trainings' states.
        identity: what this training is made of.
        say: tells the user something.
        name: begins the folder's name.

    Raises:
        UserError: the same training already runs in this project.
    """

    def __init__(self, root: Path, identity: Identity, say: Callable[[str], None], *, name: str = "training") -> None:
        self.identity, self.name = identity, name
        self.say = say
        self._lock: IO[str]
        self._warned = False
        try:
            root.mkdir(parents=True, exist_ok=True)
            _prune(root)
            self.folder = self._claim(root)
        except OSError as error:
            raise UserError(
                f"{root} cannot hold the state of a training ({error.strerror}): set HYPEROBJECT_STATE to a folder "
                "that can be written, with space for a few copies of the model."
            ) from None
        about = _read_about(self.folder)
        self._others = [] if about else _others(root, identity)
        self.run_id = str(about.get("run_id") or uuid.uuid4().hex)
        for unfinished in self.folder.glob("*.part"):
            unfinished.unlink()
        self._write_about()

    def load(self) -> dict[str, Any] | None:
        """The newest state that can be read, or None; says which of these happened where it is not plain."""
        files = self._files()
        for position, file in enumerate(files):
            try:
                state = _read(file)
                if state.get("key") != self.identity.key:
                    raise ValueError("it belongs to another configuration")
                return state
            except Exception as error:
                following = "the one before it" if position + 1 < len(files) else "the beginning"
                self.say(f"The saved state {file} cannot be used ({reason(error)}); going on from {following}.")
                file.unlink(missing_ok=True)
        for differences in self._others[:1]:
            self.say(
                f"An unfinished training of this project has another configuration ({some(differences, 5)} differ): "
                "starting afresh. Its state stays for when its configuration comes back."
            )
        return None

    def save(self, state: Mapping[str, Any]) -> bool:
        """Write the next generation; on any trouble with the disk warn once and keep the last good one."""
        files = self._files()
        number = int(files[0].stem) + 1 if files else 0
        target = self.folder / f"{number:08d}.pt"
        scratch = target.with_suffix(".part")
        try:
            # Made in memory first: a full disk then shows as an OSError, not as a fault inside the archive writer.
            buffer = io.BytesIO()
            torch.save({**state, "key": self.identity.key}, buffer)
            scratch.write_bytes(buffer.getbuffer())
            scratch.replace(target)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            self._warn(error.strerror or str(error))
            return False
        for old in files[_GENERATIONS - 1 :]:
            old.unlink(missing_ok=True)
        return True

    def close(self) -> None:
        """Let go of the folder; the state stays."""
        self._lock.close()

    def remove(self) -> None:
        """Remove the state of a training that is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def _files(self) -> list[Path]:
        """The states, newest first."""
        return sorted((file for file in self.folder.glob("*.pt") if file.stem.isdigit()), reverse=True)

    def _claim(self, root: Path) -> Path:
        """The first folder of this identity that no running training holds."""
        slot = 0
        while True:
            folder = root / (f"{self.name}-{self.identity.key}" + (f".{slot}" if slot else ""))
            folder.mkdir(exist_ok=True)
            self._lock = (folder / "lock").open("a")
            try:
                if locks.taken(self._lock.fileno()):
                    return folder
            except locks.UnsupportedError:
                self.say(f"{root} lies where files cannot be locked: let no other run train the same there.")
                return folder
            self._lock.close()
            about = _read_about(folder)
            if about.get("project") == str(Path.cwd()):
                raise UserError(
                    f"This training already runs here, as process {about.get('process')}: "
                    "wait for it, or end that process and start again to continue from its state."
                )
            slot += 1

    def _write_about(self) -> None:
        about = {
            "project": str(Path.cwd()),
            "process": os.getpid(),
            "run_id": self.run_id,
            "configuration": json.loads(json.dumps(self.identity.configuration, default=str)),
            "code": self.identity.code,
            "data": self.identity.data,
        }
        try:
            write_json(self.folder / _ABOUT, about)
        except UserError as error:
            self._warn(str(error))

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            self.say(
                f"The training's state could not be saved in {self.folder} ({why}): training goes on, and the last "
                "good state stays. Free space there, or name another folder by HYPEROBJECT_STATE."
            )


def _others(root: Path, identity: Identity) -> list[list[str]]:
    """How this project's unfinished trainings of another identity differ, the newest first."""
    found = []
    for file in sorted(root.glob(f"*/{_ABOUT}"), key=lambda path: path.stat().st_mtime, reverse=True):
        about = _read_about(file.parent)
        differences = identity.differences(about)
        if about.get("project") == str(Path.cwd()) and differences and any(file.parent.glob("*.pt")):
            found.append(differences)
    return found


def _prune(root: Path) -> None:
    """Remove states that nobody came back for."""
    limit = time.time() - _KEPT_DAYS * 86400
    for folder in root.iterdir():
        stamps = [file.stat().st_mtime for file in folder.glob("*")] if folder.is_dir() else []
        if stamps and max(stamps) < limit:
            shutil.rmtree(folder, ignore_errors=True)


def _read(file: Path) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"'{damaged}' in it is damaged")
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def _read_about(folder: Path) -> dict[str, Any]:
    try:
        about = parsed_json(folder / _ABOUT, "what a saved state is of")
    except UserError:
        return {}
    return about if isinstance(about, dict) else {}
