"""MST++ against its textbook version (`textbook_mst.py`), and the memory of reversible training.

Times of the two alternate within one process and are the least of several rounds; peak memory is
that of a process of its own for each row, beyond what it held before the step.

`--device cuda` compares full frames: the textbook in fp16 as it is, ours in bf16, channels-last, compiled; and says
how near the score takes a frame in half precision to the same in float32.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from textbook_mst import TextbookMST
from torch import Tensor, nn

from hsmodels import zoo
from hsmodels.score import ssc
from hsmodels.zoo.precision import has_bf16

CROP, FRAME, FULL_FRAME = 128, 256, 512
# Freed tensors go back to the system at once, so that the peak is that of living ones.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536"}
BLOCKS = (4, 24)
ROUNDS = 3


def pair() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    textbook, ours = TextbookMST(), zoo.build("mst_plus_plus_up")
    ours.load_state_dict(textbook.state_dict())
    return textbook, ours


def train(model: nn.Module, x: Tensor, half: torch.dtype | None = None) -> None:
    model.zero_grad(set_to_none=True)
    with torch.autocast(x.device.type, dtype=half or torch.bfloat16, enabled=half is not None):
        loss = model(x).float().abs().mean()
    loss.backward()


def infer(model: nn.Module, x: Tensor, half: torch.dtype | None = None) -> None:
    with torch.inference_mode(), torch.autocast(x.device.type, dtype=half or torch.bfloat16, enabled=half is not None):
        model(x)


def agreement(model: nn.Module, x: Tensor, half: torch.dtype) -> dict[str, float]:
    """The score of a model's outputs in half precision where those in float32 are the truth."""
    with torch.inference_mode():
        truth = model(x).float()
        with torch.autocast(x.device.type, dtype=half):
            prediction = model(x).float()
    return ssc(truth, prediction)


def least(*works: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """Seconds of each work, the least of the rounds in which they take turns."""
    found = [float("inf")] * len(works)
    for turn in range(rounds + 1):
        for index, work in enumerate(works):
            started = time.perf_counter()
            work()
            if turn:
                found[index] = min(found[index], time.perf_counter() - started)
    return found


def peak_memory(subject: str) -> float:
    """MB that a training step adds to this process."""
    if subject in ("textbook", "ours"):
        model, x = pair()[subject == "ours"], torch.rand(1, 3, CROP, CROP)
    else:
        model, x = zoo.build("revsci_rgb", n_blocks=int(subject)), torch.rand(1, 1, CROP, CROP)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    train(model, x)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def in_own_process(subject: str) -> float:
    command = [sys.executable, __file__, "--memory", subject]
    return float(
        json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | ALLOCATOR).stdout
        )
    )


def row(label: str, textbook: float, ours: float, wanted: str, unit: str) -> None:
    print(f"{label:<44}{textbook:>10.2f}{ours:>10.2f} {unit:<3}{textbook / ours:>7.2f} x   {wanted}")


def on_cpu() -> None:
    # First: a process starts with the peak of the one that it comes from.
    subjects = ("textbook", "ours", *map(str, BLOCKS))
    peaks = {subject: in_own_process(subject) for subject in subjects}
    textbook, ours = pair()
    small, large = torch.rand(1, 3, CROP, CROP), torch.rand(1, 3, FRAME, FRAME)
    difference = (textbook(small) - ours(small)).abs().max().item()
    print(f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}; bf16 instructions: ", end="")
    print("yes" if has_bf16() else "none, bf16 runs as float32 in ours")
    print(f"largest difference of the outputs: {difference:.1e} (wanted: 1e-5)\n")
    print(f"{'MST++, n_feat 61, 3 stages, upsampled twofold':<44}{'textbook':>10}{'ours':>10}{'ratio':>12}   wanted")
    steps = least(lambda: train(textbook, small), lambda: train(ours, small))
    row(f"training step, float32, {CROP}²", *steps, "1.4", "s")
    plain, fast, half = least(
        lambda: infer(textbook, large), lambda: infer(ours, large), lambda: infer(ours, large, torch.bfloat16)
    )
    row(f"inference, float32, {FRAME}²", plain, fast, "1.25", "s")
    row(f"inference, bf16 against float32, {FRAME}²", plain, half, "2", "s")
    row(f"peak memory of the training step, {CROP}²", peaks["textbook"], peaks["ours"], "1.43", "MB")
    few, many = (peaks[str(blocks)] for blocks in BLOCKS)
    print(
        f"\nreversible training, revsci_rgb, {CROP}²: {few:.0f} MB with {BLOCKS[0]} blocks, {many:.0f} MB with ",
        end="",
    )
    print(f"{BLOCKS[1]} ({many / few:.2f} x)")


def on_cuda() -> None:
    textbook, ours = (model.cuda() for model in pair())
    ours = torch.compile(ours.to(memory_format=torch.channels_last))
    x = torch.rand(1, 3, FULL_FRAME, FULL_FRAME, device="cuda")
    ours_x = x.contiguous(memory_format=torch.channels_last)

    def timed(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            work()
            torch.cuda.synchronize()

        return run

    print(f"{torch.cuda.get_device_name()}; textbook in fp16, ours in bf16, channels-last, compiled\n")
    print(f"{'MST++, full frame of ' + str(FULL_FRAME) + '²':<44}{'textbook':>10}{'ours':>10}{'ratio':>12}   wanted")
    for label, step in (("training step", train), ("inference", infer)):
        works = [lambda s=step: s(textbook, x, torch.float16), lambda s=step: s(ours, ours_x, torch.bfloat16)]
        plain, fast = least(*map(timed, works), rounds=10)
        row(label, plain, fast, "2.5", "s")
        print(f"{'':<44}{1.0 / plain:>10.1f}{1.0 / fast:>10.1f} frames a second")
        peaks = []
        for work in works:
            for model in (textbook, ours):
                model.zero_grad(set_to_none=True)
            torch.cuda.reset_peak_memory_stats()
            work()
            peaks.append(torch.cuda.max_memory_allocated() / 2**20)
        row(f"peak memory, {label}", *peaks, "1.43", "MB")
    for half in (torch.float16, torch.bfloat16):
        said_agreement(agreement(ours, ours_x, half), half)


def said_agreement(values: dict[str, float], half: torch.dtype) -> None:
    measures = f"SSC {values['SSC']:.4f}, SAM {values['SAM_deg']:.3f}°, ΔE00 {values['DeltaE00']:.3f}"
    print(f"{half} against float32: {measures}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        print(json.dumps(peak_memory(given.memory)))
    else:
        {"cpu": on_cpu, "cuda": on_cuda}[given.device]()


if __name__ == "__main__":
    main()
