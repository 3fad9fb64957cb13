"""What the processor's compiled functions find in spectra is what PyTorch's operations find."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hsengine.base.files import file_hash
from hsmodels.score import compiled, operations
from hsmodels.score.measure import colour_matrix


def pair(
    batch: int, pixels: int, seed: int, masks: int = 0, floor: float = 0.0, dark: bool = False
) -> operations.Spectra:
    generator = torch.Generator().manual_seed(seed)
    # Not so dark that squares are no numbers of float32.
    light = 0.02 + 0.98 * torch.rand(batch, 1, pixels, generator=generator)
    truth = (0.05 + torch.rand(batch, 61, pixels, generator=generator)) * (light**4 if dark else light)
    noise = 0.1 * torch.randn(batch, 61, pixels, generator=generator)
    prediction = truth * (1.0 + noise) - (0.01 if dark else 0.0)
    weights = (torch.rand(batch, masks, pixels, generator=generator) < 0.5).double() if masks else None
    return operations.Spectra(truth, prediction, colour_matrix(61, None), weights, floor)


def in_float64(given: operations.Spectra) -> operations.Spectra:
    return replace(given, truth=given.truth.double(), prediction=given.prediction.double())


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 2),
    pixels=st.sampled_from([1, 5, 511, 512, 513, 1100]),
    masks=st.integers(0, 2),
    floor=st.sampled_from([0.0, 5e-4]),
    dark=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_comparison_is_that_of_the_operations(
    batch: int, pixels: int, masks: int, floor: float, dark: bool, seed: int
) -> None:
    spectra = pair(batch, pixels, seed, masks, floor, dark)
    precise, whole = in_float64(spectra), slice(0, pixels)
    found, expected = (operations.Found.empty(one, pixels) for one in (spectra, precise))
    compiled.comparing(spectra)(whole, found)
    operations.comparing(precise)(whole, expected)
    for made, true in zip(found, expected, strict=True):
        # What has no size of its own, as the divergence of spectra at the floor, has the digits of the largest.
        most = true.abs().amax(dim=(0, 2), keepdim=True)
        assert bool(((made - true).abs() <= 1e-5 * true.abs() + 3e-5 * most + 1e-7).all())


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 2),
    pixels=st.sampled_from([1, 5, 255, 256, 257, 600]),
    floor=st.sampled_from([0.0, 5e-4]),
    dark=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_gradient_is_that_of_the_operations(batch: int, pixels: int, floor: float, dark: bool, seed: int) -> None:
    spectra = pair(batch, pixels, seed, floor=floor, dark=dark)
    generator = torch.Generator().manual_seed(seed)
    shapes = ((batch, pixels), (batch, pixels), (batch, 61), (batch, 3, pixels))
    incoming = operations.Incoming(*(torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes))
    found, expected = torch.empty_like(spectra.prediction), torch.empty_like(spectra.prediction)
    # In two parts, as two threads would.
    for at in (slice(0, pixels // 2), slice(pixels // 2, pixels)):
        compiled.pulling_back(spectra, incoming, found)(at)
    operations.pulling_back(spectra, incoming, expected)(slice(0, pixels))
    # Values far below 0 near the bend leave few digits of a float32, in either.
    assert bool(((found - expected).abs() <= 5e-3 * expected.abs().amax(dim=1, keepdim=True)).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_cubes_of_other_types_and_layouts_are_compared_alike(dtype: torch.dtype) -> None:
    spectra = pair(2, 300, seed=1, masks=1)
    truth, prediction = (x.to(dtype).mT.contiguous().mT for x in (spectra.truth, spectra.prediction))
    other = replace(spectra, truth=truth, prediction=prediction)
    plain = replace(spectra, truth=truth.float().contiguous(), prediction=prediction.float().contiguous())
    at = slice(100, 250)
    made = []
    for one in (other, plain):
        found = operations.Found.empty(one, at.stop - at.start)
        compiled.comparing(one)(at, found)
        made.append(found)
    for one, two in zip(*made, strict=True):
        assert torch.equal(one, two)


def test_logarithms_are_right_over_the_whole_range() -> None:
    # A pair of spectra whose shares have any ratio from 1e-12 to 1e12.
    ratios = np.logspace(-12, 12, 4001, dtype=np.float64)
    truth = torch.full((1, 61, len(ratios)), 1e-3)
    prediction = truth.clone()
    truth[0, 0], prediction[0, 0] = torch.from_numpy(np.sqrt(ratios)), torch.from_numpy(1.0 / np.sqrt(ratios))
    spectra = operations.Spectra(truth, prediction, colour_matrix(61, None))
    precise, whole = in_float64(spectra), slice(0, len(ratios))
    found, expected = (operations.Found.empty(one, len(ratios)) for one in (spectra, precise))
    compiled.comparing(spectra)(whole, found)
    operations.comparing(precise)(whole, expected)
    torch.testing.assert_close(found.values[0, 3].double(), expected.values[0, 3], rtol=1e-5, atol=1e-8)


def test_a_process_that_finds_the_kept_code_computes_what_the_one_did_that_compiled_it(tmp_path: Path) -> None:
    code = (
        "import torch\nfrom hsmodels.score import compiled, operations\n"
        "from hsmodels.score.measure import colour_matrix\n"
        "generator = torch.Generator().manual_seed(0)\n"
        "truth, prediction = torch.rand(2, 1, 61, 700, generator=generator)\n"
        "pair, at = operations.Spectra(truth, prediction, colour_matrix(61, None)), slice(0, 700)\n"
        "found, gradient = operations.Found.empty(pair, 700), torch.empty_like(prediction)\n"
        "compiled.comparing(pair)(at, found)\n"
        "size = ((1, 700), (1, 700), (1, 61), (1, 3, 700))\n"
        "incoming = operations.Incoming(*(torch.rand(*shape, generator=generator).double() for shape in size))\n"
        "compiled.pulling_back(pair, incoming, gradient)(at)\n"
        "print([part.double().numpy().tobytes().hex() for part in (*found, gradient)])\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        for _ in range(2)
    ]
    # No other source's code is ever found under these names.
    assert len(list(tmp_path.rglob(f"*_{file_hash(compiled.__file__)}-*.nbc"))) == 2
    assert runs[0].stdout == runs[1].stdout


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same() -> None:
    code = (
        "import numba.core.caching as caching; caching.FunctionCache._impl_class._locator_classes = []\n"
        "import numpy as np, hsmodels.score as score\n"
        "cube = np.full((61, 4, 4), 0.5, np.float32); print(score.ssc(cube, cube)['SSC'])"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(made.stdout) == pytest.approx(1.0, abs=1e-3)
