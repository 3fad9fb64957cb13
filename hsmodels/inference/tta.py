"""Test-time augmentation: the mean over the eight flips and turns of the input."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from hsdata.batches.augment import dihedral, mosaic_dihedral, undo_dihedral, undo_mosaic_dihedral

VIEWS = 8


def averaged(run: Callable[[Tensor], Tensor], image: Tensor, *, mosaic: bool) -> Tensor:
    """The mean of what `run` gives for all flips and turns of an image, each turned back.

    Args:
        run: gives (B, bands, h * scale, w * scale) of (B, C, h, w); square images are not required.
        image: (B, C, h, w).
        mosaic: the image is an RGGB plane, and each view of it must be one.

    Returns:
        (B, bands, h * scale, w * scale).
    """
    turn, undo = (mosaic_dihedral, undo_mosaic_dihedral) if mosaic else (dihedral, undo_dihedral)
    total: Tensor | None = None
    for view in range(VIEWS):
        result = undo(run(turn(image, view).contiguous()), view)
        # A copy at first: the model may have handed out a tensor that it keeps.
        total = result.float().clone() if total is None else total.add_(result)
    assert total is not None
    return total.div_(VIEWS)
