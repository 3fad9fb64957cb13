"""Words of messages: long lists cut short, near misses named."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


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
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.8)
    return f" (close: {', '.join(close)})" if close else ""
