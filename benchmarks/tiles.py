"""Whole-image against tiled inference on a CPU, for a cube of 1024 × 1024 × 61: time, peak memory, difference.

Each row runs in a process of its own, whose peak memory is that of the row. Weights are fresh ones.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZE = 1024
# Name, track, parameters, sides of tiles in input pixels; None takes the image whole.
Row = tuple[str, int, dict[str, Any], tuple[int | None, ...]]
MODELS: dict[str, Row] = {
    "raw2hsi": ("raw2hsi", 1, {}, (None, 256)),
    "MST++ (n_feat 31, stage 1)": ("mstpp", 2, {"n_feat": 31, "stage": 1}, (None, 256)),
    "MST++ (n_feat 61, stage 3)": ("mstpp", 2, {}, (None,)),
    "TRevSCI (12 blocks), to RGB": ("revsci_rgb", 1, {}, (None, 256)),
}
LIMIT_GB = 4.0


def measure(label: str, tile: int | None, output: Path) -> dict[str, float]:
    import numpy as np
    import torch

    from hsmodels import zoo
    from hsmodels.inference import predict, seam_error

    torch.manual_seed(0)
    name, track, params, _ = MODELS[label]
    model = zoo.for_track(name, track, params).eval()
    side = SIZE if track == 1 else SIZE // 2
    # Smooth, as photographs are, with some noise.
    coarse = torch.rand(1, 1 if track == 1 else 3, side // 32, side // 32)
    image = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    image = (image + 0.01 * torch.randn_like(image)).clamp(0, 1)
    started = time.perf_counter()
    cube = predict(model, image[0], tile=tile)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.save(output, cube.numpy())
    seam = seam_error(model, image[0], tile=tile) if tile and tile < side else 0.0
    return {"seconds": seconds, "GB": peak / 2**20, "seam": seam}


def main() -> None:
    import numpy as np

    print(f"cube {SIZE} x {SIZE} x 61 on a CPU; peak memory is the whole process, Python and PyTorch included")
    print(f"{'model':<28}{'tile':>6}{'seconds':>9}{'peak GB':>9}{'max difference to whole':>25}{'between tiles':>15}")
    with tempfile.TemporaryDirectory() as folder:
        for label, (_, _, _, tiles) in MODELS.items():
            whole = None
            for tile in tiles:
                path = Path(folder) / "cube.npy"
                command = [sys.executable, __file__, label, str(tile or 0), str(path)]
                row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
                cube = np.load(path)
                if whole is None:
                    whole, difference = cube, ""
                else:
                    difference = f"{np.abs(cube - whole).max():.1e} of {np.abs(whole).max():.2f}"
                seam = f"{row['seam']:.1e}" if tile else ""
                flag = "" if row["GB"] < LIMIT_GB else f"  above {LIMIT_GB:g} GB"
                shown = tile or "whole"
                print(f"{label:<28}{shown:>6}{row['seconds']:>9.1f}{row['GB']:>9.2f}{difference:>25}{seam:>15}{flag}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]) or None, Path(sys.argv[3]))))
    else:
        main()
