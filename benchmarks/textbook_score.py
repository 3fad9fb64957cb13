"""The challenge's score written the straightforward way: PyTorch, torchmetrics and colour-science.

What the toolkit's own score is measured and tested against. It follows the formulas line by line and
makes no effort for speed, memory or images without light.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.image import (
    error_relative_global_dimensionless_synthesis,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

with warnings.catch_warnings():
    # Of optional plotting packages.
    warnings.simplefilter("ignore")
    import colour

Array = NDArray[np.float64]

TO_RGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def ssc(truth: NDArray[np.floating], prediction: NDArray[np.floating], wavelengths: Array) -> dict[str, float]:
    """Every value of the score of one pair (bands, H, W)."""
    a, b = torch.from_numpy(truth).double(), torch.from_numpy(prediction).double()
    first, second = render(a.numpy(), wavelengths), render(b.numpy(), wavelengths)
    x, y = (torch.from_numpy(np.moveaxis(image, -1, 0)[None]).float() for image in (first, second))
    _, similarity = structural_similarity_index_measure(y, x, data_range=1.0, sigma=1.5, return_full_image=True)
    values = {
        "SAM_deg": float(angle(a, b).mean()),
        "SID": float(divergence(a, b).mean()),
        "ERGAS": float(error_relative_global_dimensionless_synthesis(b[None], a[None], ratio=1)),
        "PSNR_dB": float(peak_signal_noise_ratio(y, x, data_range=1.0)),
        "SSIM": float(similarity.mean()),
        "DeltaE00": float(colour.delta_E(lab(first), lab(second), method="CIE 2000").mean()),
    }
    return values | subscores(values)


def angle(a: Tensor, b: Tensor) -> Tensor:
    cosine = (a * b).sum(dim=0) / (a.norm(dim=0) * b.norm(dim=0) + 1e-8)
    return torch.rad2deg(torch.arccos(cosine.clamp(-1.0, 1.0)))


def divergence(a: Tensor, b: Tensor) -> Tensor:
    p, q = a / (a.sum(dim=0) + 1e-12), b / (b.sum(dim=0) + 1e-12)
    forth = (p * torch.log((p + 1e-12) / (q + 1e-12))).sum(dim=0)
    back = (q * torch.log((q + 1e-12) / (p + 1e-12))).sum(dim=0)
    return forth + back


def render(cube: Array, wavelengths: Array) -> Array:
    """(H, W, 3) encoded sRGB of (bands, H, W)."""
    shape = colour.SpectralShape(380, 780, 1)
    matching = colour.MSDS_CMFS["CIE 1931 2 Degree Standard Observer"].copy().align(shape)
    light = colour.SDS_ILLUMINANTS["D65"].copy().align(shape)
    visible = (wavelengths >= 400.0) & (wavelengths <= 700.0)
    bands = wavelengths[visible]
    table = np.stack([np.interp(bands, shape.wavelengths, column) for column in matching.values.T], axis=1)
    power = np.interp(bands, shape.wavelengths, light.values) * np.gradient(bands)
    xyz = np.tensordot(cube[visible], table * power[:, None], axes=(0, 0)) / np.sum(power * table[:, 1])
    linear = np.clip(xyz @ TO_RGB.T, 0.0, None)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1.0 / 2.4) - 0.055)
    return np.clip(encoded, 0.0, 1.0)


def lab(render: Array) -> Array:
    linear = np.where(render <= 0.04045, render / 12.92, ((render + 0.055) / 1.055) ** 2.4)
    white = colour.CCS_ILLUMINANTS["CIE 1931 2 Degree Standard Observer"]["D65"]
    return np.asarray(colour.XYZ_to_Lab(linear @ TO_XYZ.T, white))


def subscores(values: dict[str, float]) -> dict[str, float]:
    decay = {"S_SAM": ("SAM_deg", 5.0), "S_SID": ("SID", 0.02), "S_ERGAS": ("ERGAS", 3.0)}
    s = {name: float(np.clip(np.exp(-values[of] / tau), 1e-6, 1.0)) for name, (of, tau) in decay.items()}
    s["S_PSNR"] = float(np.clip((values["PSNR_dB"] - 20.0) / 30.0, 0.0, 1.0))
    s["S_SSIM"] = values["SSIM"]
    s["S_SPEC"] = (s["S_SAM"] * s["S_SID"] * s["S_ERGAS"]) ** (1.0 / 3.0)
    s["S_SPAT"] = (s["S_PSNR"] + s["S_SSIM"]) / 2.0
    s["S_COLOR"] = float(np.clip(np.exp(-values["DeltaE00"] / 3.0), 1e-6, 1.0))
    s["SSC"] = s["S_SPEC"] ** 0.5 * s["S_SPAT"] ** 0.35 * s["S_COLOR"] ** 0.15
    s["SSC_arith"] = 0.5 * s["S_SPEC"] + 0.35 * s["S_SPAT"] + 0.15 * s["S_COLOR"]
    return s
