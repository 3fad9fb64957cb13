"""Scoring a pair of cubes: the toolkit's score against the straightforward version, on the CPU.

Both score the same float32 pair, each in a process of its own: the best time of a few repeats, the peak memory beside
the inputs, and how far the values are apart.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

VERSIONS = ("textbook", "toolkit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="height and width of the cubes in pixels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--repeat", type=int, default=5, help="repeats of the toolkit's; half as many of the textbook's"
    )
    parser.add_argument("--child", choices=VERSIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(options.child, options.size, options.threads, options.repeat)))
        return
    inputs = 2 * 61 * options.size**2 * 4 / 1e9
    print(f"a pair of 61 x {options.size} x {options.size} float32 ({inputs:.2f} GB), {options.threads} threads")
    found = {}
    for version in VERSIONS:
        command = [sys.executable, __file__, "--child", version, "--size", str(options.size)]
        command += ["--threads", str(options.threads), "--repeat", str(options.repeat)]
        result = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        found[version] = json.loads(result.stdout)
        row = found[version]
        print(f"{version:>9}: {row['seconds']:7.2f} s   {row['gigabytes']:6.2f} GB beside the inputs", flush=True)
    textbook, toolkit = (found[version] for version in VERSIONS)
    print(f"{textbook['seconds'] / toolkit['seconds']:.1f} times as fast", end="; ")
    apart = {
        name: abs(toolkit["values"][name] - value) / max(abs(value), 1e-12)
        for name, value in textbook["values"].items()
    }
    worst = max(apart, key=lambda name: apart[name])
    print(f"values at most {apart[worst]:.1e} apart, relatively ({worst})")


def measured(version: str, size: int, threads: int, repeat: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    truth, prediction = pair(size), pair(size)
    for band in range(len(truth)):
        prediction[band].mul_(0.01).add_(truth[band])
    score = scorer(version)
    score(truth[:, :64, :64].contiguous(), prediction[:, :64, :64].contiguous())
    before = peak()
    times = []
    for _ in range(repeat if version == "toolkit" else max(1, repeat // 2)):
        start = time.perf_counter()
        values = score(truth, prediction)
        times.append(time.perf_counter() - start)
    return {"seconds": min(times), "gigabytes": peak() - before, "values": values}


def pair(size: int) -> Any:
    """(61, size, size) of smooth spectra, made band by band so that the peak memory is the cube's own."""
    import torch

    cube = torch.empty(61, size, size)
    for band in range(len(cube)):
        torch.rand(size, size, out=cube[band]).mul_(0.3 + 0.004 * band).add_(0.02)
    return cube


def scorer(version: str) -> Callable[[Any, Any], dict[str, float]]:
    if version == "toolkit":
        from hsmodels.score import ssc

        return ssc
    import textbook_score

    from hsdata import BAND_GRID

    return lambda truth, prediction: textbook_score.ssc(truth.numpy(), prediction.numpy(), BAND_GRID)


def peak() -> float:
    """The most memory that this process has had, in GB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1e-9 if sys.platform == "darwin" else 1.024e-6)


if __name__ == "__main__":
    main()
