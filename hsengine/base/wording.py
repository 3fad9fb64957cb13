"""Words of messages: long lists cut short, near misses named."""

from __future__ import annotations

import difflib
import heapq
import os
from collections.abc import Iterable, Sequence

# Names that are compared thoroughly, which takes a fifth of a millisecond each.
_COMPARED = 100


def listed(lines: Sequence[str], shown: int = 20) -> str:
    """One indented line each, the first `shown` of them, then how many more there are."""
    rest = [f"and {len(lines) - shown} more"] if len(lines) > shown else []
    return "\n".join(f"  {line}" for line in [*lines[:shown], *rest])


def some(names: Sequence[str], shown: int = 10) -> str:
    """The first `shown` names with commas, then how many more there are."""
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest


def close_matches(name: str, known: Iterable[str]) -> str:
    """A hint in brackets at the names that `name` may have meant, with a leading space, or ""."""
    names = list(known)
    if len(names) > _COMPARED:
        names = heapq.nlargest(_COMPARED, names, key=lambda other: _ends_shared(name, other))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.8)
    return f" (close: {', '.join(close)})" if close else ""


def meant(name: object, known: Iterable[str]) -> str:
    """The question whether the closest of the names was meant, `did you mean 'x'?`, or "" where none is close."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"did you mean '{close[0]}'?" if close else ""


def _ends_shared(one: str, other: str) -> int:
    """Letters that two names have in common at their beginnings and ends."""
    pairs = ([one, other], [one[::-1], other[::-1]])
    return sum(len(os.path.commonprefix(pair)) for pair in pairs)  # noqa: RUF071  (letters are meant)
