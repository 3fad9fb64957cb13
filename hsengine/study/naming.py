"""Names of experiments: readable, distinct, and such that git can keep them."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9]+([._-]?[A-Za-z0-9]+)*")
_LONGEST = 120


def shortest(keys: Sequence[str]) -> list[str]:
    """The last part of each dotted key, or more of it where two would be equal."""
    for length in itertools.count(1):
        found = ["-".join(key.split(".")[-length:]) for key in keys]
        if len(set(found)) == len(keys) or length > max(key.count(".") for key in keys):
            return found
    raise AssertionError


def texts(values: Sequence[Any]) -> list[str]:
    """Values as parts of a name; those that would be equal get some digits of their hash."""
    found = [_text(value) for value in values]
    counts = Counter(found)
    return [text if counts[text] == 1 else f"{text}-{_hash(value)}" for text, value in zip(found, values, strict=True)]


def _text(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:g}"
    elif value is None or isinstance(value, bool):
        text = json.dumps(value)
    elif isinstance(value, list | dict):
        text = json.dumps(value, default=str)
    else:
        text = str(value)
    sign = "minus-" if isinstance(value, int | float) and value < 0 else ""
    cleaned = re.sub(r"[^A-Za-z0-9.]+|\.{2,}", "-", text)[:30].strip(".-").removesuffix(".lock")
    return sign + cleaned if cleaned else _hash(value)


def shortened(name: str) -> str:
    """A name that git can keep as a file: long ones end in their hash."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 9].rstrip('.-_')}-{_hash(name, 4)}"


def _hash(value: Any, size: int = 2) -> str:
    return hashlib.blake2b(json.dumps(value, default=str).encode(), digest_size=size).hexdigest()


def checked(name: str) -> str:
    """The name of a study or a variant as it is.

    Raises:
        ValueError: git could not keep it as part of a branch's name.
    """
    if not _NAME.fullmatch(name) or name.endswith(".lock") or len(name) > 60:
        raise ValueError("names are made of letters, digits and single '-', '_' or '.' between them, 60 at most")
    return name
