"""Which closed form `residual: chosen` takes, and by how much: run it in a project's folder, after `hsdata index`.

Only training samples are read.
"""

from __future__ import annotations


def main() -> None:
    from hsdata import catalog as catalogs
    from hsdata import paths
    from hsmodels.choice import choose
    from hsmodels.heldout import division
    from hsmodels.params import load_params

    if not paths.CATALOG.exists():
        print("no project in this folder: run it where derived/catalog.csv is")
        return
    training, _ = division(catalogs.load(paths.CATALOG))
    print(choose(load_params(), training))


if __name__ == "__main__":
    main()
