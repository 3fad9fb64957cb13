"""Where the score is lost: by part, by brightness, and to what colour cannot tell. Run it in a project's folder.

For the held-out samples, kernel ridge and the trained model, if there is one, are taken apart; two conditional means
say what could be reached: for each pixel the mean true spectrum of the pixels with the most similar colour and
neighbourhood, among training pixels, and among pixels of the same image that are not near. The first is what training
data of these grounds can tell, the second what anyone could who knows the materials of the scene.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

NEIGHBOURS, POOL, APART, ROWS = 8, 2000, 8, 2000


def main() -> None:
    import numpy as np
    import torch
    from torch import Tensor

    from hsdata import catalog as catalogs
    from hsdata import paths
    from hsdata.cube import BAND_GRID
    from hsengine.predict import device_of
    from hsmodels import scoring, zoo
    from hsmodels.heldout import Frames, division
    from hsmodels.inference import finish, predictor
    from hsmodels.params import load_params
    from hsmodels.zoo.kernel import surroundings

    if not paths.CATALOG.exists():
        print("no project in this folder: run it where derived/catalog.csv is")
        return
    params = load_params()
    if params.track != 2:
        sys.exit("benchmarks/lost.py is for track 2")
    rows, held_out = division(catalogs.load(paths.CATALOG))
    training, frames = Frames(rows, 2), Frames(held_out, 2)
    kernel = zoo.for_track("kernel_ridge", 2, {}).eval()
    pairs = [training.pair(index) for index in range(len(training))]
    zoo.fit(kernel, ((input[None], truth[None]) for input, truth in pairs))
    trained = predictor.of_params(params, paths.MODEL) if paths.MODEL.is_dir() else None

    def described(input: Tensor) -> Tensor:
        # Without the whole image's colours: the same pixel may lie in any scene.
        return surroundings(input[None], 2)[0, :-6].flatten(1).T.contiguous()

    generator = torch.Generator().manual_seed(0)
    each = max(POOL * 2 // len(pairs), 1)
    pool: list[tuple[Tensor, Tensor]] = []
    for input, truth in pairs:
        chosen = torch.randperm(truth[0].numel(), generator=generator)[:each]
        pool.append((described(input)[chosen], truth.flatten(1).T[chosen]))
    known = torch.cat([one for one, _ in pool]), torch.cat([other for _, other in pool])

    def nearest(wanted: Tensor, among: Tensor, spectra: Tensor, barred: Any = None) -> Tensor:
        found = []
        for start in range(0, len(wanted), ROWS):
            distance = torch.cdist(wanted[start : start + ROWS], among)
            if barred is not None:
                distance += barred(start, start + ROWS) * 1e6
            found.append(spectra[distance.topk(NEIGHBOURS, largest=False).indices].mean(dim=1))
        return torch.cat(found)

    def from_itself(input: Tensor, truth: Tensor) -> Tensor:
        height, width = truth.shape[1:]
        places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1).flatten(0, 1)
        chosen = torch.randperm(height * width, generator=generator)[:POOL]

        def near(start: int, end: int) -> Tensor:
            apart = (places[start:end, None] - places[None, chosen]).abs().amax(dim=-1)
            return (apart < APART).float()

        features = described(input)
        return nearest(features, features[chosen], truth.flatten(1).T[chosen], near)

    parts: dict[str, list[dict[str, float]]] = defaultdict(list)
    deciles: dict[str, list[Any]] = defaultdict(list)
    for index in range(len(frames)):
        input, truth = frames.pair(index)
        with torch.no_grad():
            made = {"kernel_ridge": kernel(input[None])[0]}
        if trained is not None:
            made["trained model"] = trained(input.to(device_of(trained.model, input))).cpu()
        made["similar training pixels"] = nearest(described(input), *known).T.reshape(truth.shape)
        made["similar pixels of itself"] = from_itself(input, truth).T.reshape(truth.shape)
        small = torch.nn.functional.avg_pool2d(truth[None], 2)
        made["truth pooled by two"] = torch.nn.functional.interpolate(small, scale_factor=2.0, mode="bicubic")[0]
        order = truth.mean(dim=0).flatten().argsort().numpy()
        for name, cube in made.items():
            found = scoring.shares(truth, finish(cube, params.predict.floor), BAND_GRID)
            costs = {part: float(values.sum()) for part, values in found.costs.items()}
            parts[name].append({"SSC": found.values["SSC"], **costs})
            whole = sum(values.ravel()[order] for values in found.costs.values())
            deciles[name].append([part.sum() / whole.sum() for part in np.array_split(whole, 10)])
    names = list(next(iter(parts.values()))[0])
    print("| prediction | SSC | " + " | ".join(f"lost to {name}" for name in names[1:]) + " |")
    print("| --- " * (len(names) + 1) + "|")
    for label, images in parts.items():
        means = [float(np.mean([image[name] for image in images])) for name in names]
        print(f"| {label} | {means[0]:.3f} | " + " | ".join(f"{value:.2f}" for value in means[1:]) + " |")
    print("\nMeans of -ln SSC and its addends. Shares by decile of brightness, from dark to bright, in %:\n")
    for label, images in deciles.items():
        print(f"{label}: " + " ".join(f"{100 * share:.0f}" for share in np.mean(images, axis=0)))


if __name__ == "__main__":
    main()
