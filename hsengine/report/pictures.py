"""Pictures as a page holds them."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SIDE: Final = 1024
_LOSSLESS_SIDE: Final = 512
_QUALITY: Final = 90


def picture(rgb: NDArray[np.floating], side: int = _SIDE, lossless: int = _LOSSLESS_SIDE) -> str:
    """A picture (3 or 1, height, width) with values in [0, 1] as a data URL: PNG, or JPEG where it is large.

    Args:
        rgb: the picture.
        side: its longer side at most; of a larger one it is every n-th pixel.
        lossless: up to which side it is PNG.
    """
    from PIL import Image

    step = -(-max(rgb.shape[1:]) // side)
    small = np.clip(np.nan_to_num(rgb[:, ::step, ::step]), 0.0, 1.0)
    values = np.rint((small[0] if len(small) == 1 else np.moveaxis(small, 0, 2)) * 255.0).astype(np.uint8)
    buffer = io.BytesIO()
    kind = "png" if max(values.shape[:2]) <= lossless else "jpeg"
    if kind == "png":
        Image.fromarray(values).save(buffer, format="PNG", optimize=True)
    else:
        Image.fromarray(values).save(buffer, format="JPEG", quality=_QUALITY)
    return f"data:image/{kind};base64,{b64encode(buffer.getvalue()).decode('ascii')}"
