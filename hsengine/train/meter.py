"""What a training costs: samples a second, time spent waiting for data, memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")


@dataclass
class Meter:
    """Sums over a training, its interruptions left out.

    Attributes:
        samples: training samples seen, over all processes.
        seconds: time in updates, the wait for data included.
        waited: time in which this process waited for its next batch.
        scoring: time in measuring the held-out samples.
        saving: time in saving the state.
        longest_scoring: the longest full measuring.
    """

    samples: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    scoring: float = 0.0
    saving: float = 0.0
    longest_scoring: float = 0.0

    @property
    def elapsed(self) -> float:
        """All time spent, in seconds."""
        return self.seconds + self.scoring + self.saving

    def waiting(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The batches, with the time that it takes to get each one counted."""
        started = time.perf_counter()
        for batch in batches:
            self.waited += time.perf_counter() - started
            yield batch
            started = time.perf_counter()

    def report(self, device: torch.device, processes: int) -> dict[str, Any]:
        """Rates and sums of the whole training, for a metrics file."""
        return {
            "samples_per_second": self.samples / self.seconds if self.seconds else 0.0,
            "data_wait_share": self.waited / self.seconds if self.seconds else 0.0,
            "peak_memory_mb": peak_memory(device) / 2**20,
            "training_seconds": self.seconds,
            "scoring_seconds": self.scoring,
            "saving_seconds": self.saving,
            "samples": self.samples,
            "processes": processes,
            "device": device.type,
        }

    def since(self, earlier: Meter) -> dict[str, float]:
        """Rates since an earlier copy, by the names of the curves."""
        seconds = self.seconds - earlier.seconds
        return {
            "speed/samples_per_second": (self.samples - earlier.samples) / seconds if seconds else 0.0,
            "speed/data_wait_share": (self.waited - earlier.waited) / seconds if seconds else 0.0,
        }

    def state_dict(self) -> dict[str, Any]:
        """The sums as plain values."""
        return asdict(self)


def peak_memory(device: torch.device) -> int:
    """The most memory that was in use, in bytes: on the GPU, or of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
