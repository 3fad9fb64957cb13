"""A trained network as a teacher: what it says of a batch, without learning anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.base.files import file_hash
from hsengine.folder import file_of
from hstasks.loading import load
from hstasks.losses import distillation


class Teacher:
    """A frozen network, and how its classes are shared among a student's.

    Args:
        folder: what training wrote.
        mapping: (K, C), a row for each of the teacher's classes; rows sum to 1.
        temperature: T of the distillation.
        seen: what the student sees of an image, as its record would have it; the teacher must see the same.

    Attributes:
        hash: of its weights.
        record: of its training.

    Raises:
        UserError: the folder is not a trained model's, or it sees images otherwise.
    """

    def __init__(self, folder: str | Path, mapping: Sequence[Sequence[float]], temperature: float, seen: Any):
        self._network, self.record = load(folder)
        self._network.requires_grad_(False)
        self._mapping, self._temperature = torch.tensor(mapping, dtype=torch.float64), temperature
        self.hash = file_hash(Path(folder) / file_of("best"))
        theirs = self.record["params"].get("input")
        if theirs != seen:
            raise UserError(
                f"The teacher in {folder} sees images by {theirs}, the student by {seen}: train both with the same "
                "'input'."
            )

    def network(self, device: torch.device) -> nn.Module:
        """The network on a device, in evaluation mode."""
        return self._network.to(device).eval()

    def loss(self, student: Tensor, image: Tensor, valid: Tensor) -> Tensor:
        """T² KL of the teacher's shares and the student's, (B,); see `hstasks.losses.distillation`.

        Args:
            student: its logits (B, C, H, W) of `image`.
            image: (B, channels, H, W), as both see it.
            valid: (B, H, W) bool.
        """
        with torch.no_grad():
            told = self.network(image.device)(image).logits
        return distillation(student, told, self._mapping, self._temperature, valid, each=True)
