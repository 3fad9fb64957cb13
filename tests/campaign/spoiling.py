"""What can befall a file: bytes that change, go, come, or stand twice; and for how long that is tried."""

import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsengine.base.errors import UserError

# With few examples in each run of the tests, and as many as the profile says in a campaign.
CAMPAIGN = settings.get_current_profile_name() == "campaign"
_COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck)}
binary = settings(**_COMMON, max_examples=settings().max_examples if CAMPAIGN else 15)
text = settings(**_COMMON, max_examples=settings().max_examples if CAMPAIGN else 30)

# Of a campaign, for each reader and each format of text.
SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
# What was tried: seconds and examples by name.
TRIED: dict[str, tuple[float, int]] = {}

Fault = tuple[str, float, bytes]

_BYTES = st.one_of(
    st.binary(min_size=1, max_size=16),
    st.sampled_from(
        [
            *(b"\x00" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff", b"inf", b"nan", b"-1", b"1e400", b"61.5", b"99999999999"),
            *(b"\n", b",", b";", b'"', b"{", b"[", b"&a [*a]", b": ", b"#", b"\t", b"\r", b"\xef\xbb\xbf", b"\xff\xfe"),
            b"[" * 999,
        ]
    ),
)
faults = st.lists(
    st.tuples(
        st.sampled_from(["replace", "replace", "insert", "remove", "cut", "double"]),
        # Headers stand at the beginning, and directories at the end.
        st.one_of(st.floats(0.0, 1.0), st.floats(0.0, 0.05), st.floats(0.95, 1.0)),
        _BYTES,
    ),
    min_size=1,
    max_size=3,
)


def spoiled(content: bytes, found: Sequence[Fault]) -> bytes:
    """`content` with faults, each at a part of its length."""
    for kind, part, data in found:
        at = int(part * len(content))
        if kind == "cut":
            content = content[:at]
        elif kind == "insert":
            content = content[:at] + data + content[at:]
        elif kind == "remove":
            content = content[:at] + content[at + len(data) :]
        elif kind == "double":
            content = content[:at] + content[: len(content) - at] + content[at:]
        else:
            content = content[:at] + data + content[at + len(data) :]
    return content


def at_length(name: str, how: settings, trial: Callable[[list[Fault]], None], *, share: float = 1.0) -> None:
    """Try `trial` with faults: once in each run of the tests, and again and again for `SECONDS` in a campaign.

    Args:
        name: of the reader, for the table that a campaign ends with.
        how: examples at a time.
        trial: what is tried.
        share: of the time, where one reader serves several suffixes.
    """
    began, examples = time.monotonic(), 0

    @how
    @given(found=faults)
    def tried(found: list[Fault]) -> None:
        nonlocal examples
        examples += 1
        trial(found)

    tried()
    while CAMPAIGN and time.monotonic() - began < SECONDS * share:
        tried()
    seconds, before = TRIED.get(name, (0.0, 0))
    TRIED[name] = seconds + time.monotonic() - began, before + examples


def attempt(read: Callable[[], Any], check: Callable[[Any], None] | None = None) -> None:
    """Read what may be spoiled: the result is sound, or the user is told; anything else is an error of ours."""
    with warnings.catch_warnings(), suppress(UserError):
        warnings.simplefilter("ignore")
        value = read()
        if check is not None:
            check(value)
