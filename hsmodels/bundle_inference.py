"""Predict hyperspectral cubes for a folder of inputs: python inference.py --input FOLDER --output FOLDER."""

import argparse
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Predict; 0, or 1 with a message where something is wrong with the input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, required=True, help="a folder of inputs, or one file")
    parser.add_argument("--output", type=Path, required=True, help="the folder for the cubes")
    parser.add_argument("--format", choices=("h5", "zarr", "npz", "npy"), default="h5", help="of the cubes")
    parser.add_argument("--device", help="cpu or cuda; a GPU if there is one by default")
    parser.add_argument("--tile", type=int, help="side of a tile in input pixels, for a GPU of less memory")
    given = parser.parse_args()
    settings = json.loads((HERE / "bundle.json").read_text(encoding="utf-8"))
    # Only this bundle's code, whatever else is installed; and no caches are written into it.
    sys.path.insert(0, os.fspath(HERE / "code"))
    sys.dont_write_bytecode = True
    try:
        from hsengine.base.errors import UserError
        from hsmodels import predict
    except ImportError as error:
        print(f"error: {error}: install what is needed: pip install -r {HERE / 'requirements.txt'}", file=sys.stderr)
        return 1
    weights = settings["weights"]
    try:
        done = predict.run(
            given.input,
            given.output,
            [HERE / name for name in settings["models"]],
            format=given.format,
            weights=None if weights is None else HERE / weights,
            checkpoint=settings["checkpoint"],
            tile=settings["tile"] if given.tile is None else given.tile,
            device=given.device,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
