"""The machine's memory, and what may be kept in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

Cache = Literal["auto", "none", "memory", "device"]
"""Whether decoded samples stay in memory between epochs: `auto` where there is room."""

# Of the memory; the rest is for models, for what is being computed, and for the files' own cache.
_SHARE = 1 / 8
_GROUP = Path("/sys/fs/cgroup/memory.max")
# What a launcher of several training processes tells each: how many of them this machine has.
_PROCESSES = "LOCAL_WORLD_SIZE"


def installed() -> int:
    """Bytes of memory that this process may use: the machine's, or fewer where its control group has a limit."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(_GROUP.read_text(encoding="ascii")))
    # There is no such group, or its limit is "max".
    except (OSError, ValueError):
        return whole


def keeps(cache: Cache, needed: int) -> bool:
    """Whether that many bytes of decoded samples are to stay in memory.

    Args:
        cache: `machine.cache`. `auto` keeps them where the training processes of this machine together fill no more
            than an eighth of its memory with them.
        needed: bytes in each training process.
    """
    if cache != "auto":
        return cache != "none"
    processes = os.environ.get(_PROCESSES, "")
    return needed * (int(processes) if processes.isdecimal() else 1) <= _SHARE * installed()
