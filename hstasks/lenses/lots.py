"""Long scorings a lot at a time: the answers of finished lots are kept, so that a run that was killed is taken up."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from hsengine.base import locks
from hsengine.base.errors import UserError
from hsengine.base.paths import state_folder
from hsengine.base.reading import json_value

LOT = 512
"""Objects whose images are held at once."""

_KEPT_DAYS = 30

Item = TypeVar("Item")


class Answers:
    """The answers of finished lots, a line of JSON each; without a file they are not kept."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._places = _places(file) if file is not None and file.is_file() else {}

    def of(self, items: Sequence[Item], work: Callable[[Sequence[Item]], Any], label: str) -> Iterator[Any]:
        """What `work` says of each lot of the items, in order; it is asked only where no earlier run was.

        Args:
            items: all that is asked about, the same as in the earlier run.
            work: gives what JSON can write, without change.
            label: for the progress bar, which is shown on terminals only.
        """
        if self._places:
            done = min(len(self._places) * LOT, len(items))
            print(f"{label}: {done} of {len(items)} objects were scored by an earlier run", file=sys.stderr)
        with tqdm(total=len(items), desc=label, unit="object", disable=None) as bar:
            for number, start in enumerate(range(0, len(items), LOT)):
                lot = items[start : start + LOT]
                yield self._kept(number) if number in self._places else self._keep(number, work(lot))
                bar.update(len(lot))

    def _kept(self, number: int) -> Any:
        assert self._file is not None
        with self._file.open("rb") as stream:
            stream.seek(self._places[number])
            return json.loads(stream.readline())[1]

    def _keep(self, number: int, answer: Any) -> Any:
        if self._file is not None:
            try:
                with self._file.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps([number, answer]) + "\n")
            except OSError as error:
                _say(self._file, error)
                self._file = None
        # As it comes back from the file, so that a run that is taken up gives the same.
        return json.loads(json.dumps(answer))


def _places(file: Path) -> dict[int, int]:
    """Where the line of each lot starts; a last line that a killed run left unfinished is cut off."""
    places: dict[int, int] = {}
    end = 0
    with file.open("rb+") as stream:
        for line in stream:
            try:
                number, _ = json_value(line, f"{file}")
            except (UserError, ValueError, TypeError):
                break
            places[int(number)] = end
            end += len(line)
        stream.truncate(end)
    return places


@contextmanager
def kept(key: str) -> Iterator[Answers]:
    """The answers of a scoring of that key; they are forgotten once the block ends without an error.

    Args:
        key: hash of all that the answers follow from.

    Raises:
        UserError: the same scoring runs already.
    """
    folder = state_folder() / "scorings" / key
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _prune(folder.parent, folder)
            stack.enter_context(locks.alone_in(folder))
            answers = Answers(folder / "answers.jsonl")
        except UserError:
            raise UserError(
                f"The same objects are being scored by the same models already (lock of {folder}): wait for that run."
            ) from None
        except OSError as error:
            _say(folder, error)
            answers = Answers(None)
        yield answers
        shutil.rmtree(folder, ignore_errors=True)


def _say(place: Path, error: OSError) -> None:
    print(f"note: {place} cannot be written ({error.strerror}): a run that is killed begins anew.", file=sys.stderr)


def _prune(root: Path, own: Path) -> None:
    """Remove the answers that nobody came back for."""
    limit = time.time() - _KEPT_DAYS * 86400
    for folder in root.iterdir():
        stamps = [file.stat().st_mtime for file in folder.glob("*")] if folder != own and folder.is_dir() else []
        if stamps and max(stamps) < limit:
            shutil.rmtree(folder, ignore_errors=True)
