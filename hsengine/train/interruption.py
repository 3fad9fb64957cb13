"""Signals that ask a training to stop where it can be continued."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

PREEMPTED = os.EX_TEMPFAIL
"""Exit code (75) of a training that was told to stop and saved its state: start it again to go on."""


class Preempted(SystemExit):
    """The training was told to stop and has saved its state."""

    def __init__(self, number: int) -> None:
        super().__init__(PREEMPTED if number == signal.SIGTERM else 128 + number)


class Interruption:
    """Notes SIGTERM and Ctrl-C while the block runs; a second Ctrl-C stops at once.

    Outside of the main thread, where Python takes no signals, it notes nothing.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.number = number
