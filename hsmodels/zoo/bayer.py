"""RGGB mosaics as networks want them: with masks, packed, sampled from RGB, demosaicked."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hsengine.base.errors import UserError


def check_even(height: int, width: int) -> None:
    """Refuse a plane that does not consist of whole RGGB cells.

    Raises:
        UserError: the height or the width is odd.
    """
    if height % 2 or width % 2:
        raise UserError(
            f"A mosaic of {height} × {width} pixels does not consist of whole 2 × 2 RGGB cells: "
            "crop it to an even height and width, starting on a red pixel."
        )


def masks(plane: Tensor) -> Tensor:
    """Which pixels see red, green and blue: (3, H, W) of 0 and 1, in the plane's type and place.

    Args:
        plane: (..., H, W), its first pixel red.
    """
    height, width = plane.shape[-2:]
    rows = torch.arange(height, device=plane.device)[:, None] % 2
    columns = torch.arange(width, device=plane.device) % 2
    colour = rows + columns
    return torch.stack([colour == 0, colour == 1, colour == 2]).to(plane.dtype)


def with_masks(plane: Tensor) -> Tensor:
    """RGGB planes (B, 1, H, W) with their red, green and blue masks: (B, 4, H, W)."""
    check_even(*plane.shape[-2:])
    return torch.cat([plane, masks(plane).expand(plane.shape[0], -1, -1, -1)], dim=1)


def packed(plane: Tensor) -> Tensor:
    """RGGB planes (B, 1, H, W) as images of R, G, G, B: (B, 4, H/2, W/2)."""
    check_even(*plane.shape[-2:])
    return F.pixel_unshuffle(plane, 2)


def sample(rgb: Tensor) -> Tensor:
    """What an RGGB sensor sees of RGB images (B, 3, H, W): planes (B, 1, H, W)."""
    check_even(*rgb.shape[-2:])
    return (rgb * masks(rgb)).sum(dim=1, keepdim=True)


def demosaic(plane: Tensor) -> Tensor:
    """RGB (B, 3, H, W) from RGGB planes (B, 1, H, W): each colour's known neighbours averaged, known pixels kept."""
    check_even(*plane.shape[-2:])
    tent = plane.new_tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]).expand(3, 1, 3, 3)
    seen = masks(plane)[None]
    known = plane * seen
    filled = F.conv2d(known, tent, padding=1, groups=3) / F.conv2d(seen, tent, padding=1, groups=3)
    return torch.where(seen.bool(), known, filled)
