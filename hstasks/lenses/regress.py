"""The second task: the parameters of lenses from their images. Lenses alone are learned from and measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hsengine.train.task import Key, Row, means
from hstasks.lenses.convert import Store
from hstasks.lenses.layout import DOMAINS
from hstasks.lenses.preprocess import OurPreprocess, generator
from hstasks.lenses.samples import Sample, Sight
from hstasks.lenses.targets import Targets
from hstasks.networks.fused import Told
from hstasks.regression import Regression

Values = NDArray[np.float64]


class ParameterSamples:
    """Lenses and their parameters by index.

    Args:
        samples: the lenses.
        domains: a number for each.
        values: (lenses, outputs) in standard units, NaN where unknown.
        view: image (5, 41, 41) in counts of an index.
        look: what the network sees.
        targets: the outputs.
        training: whether views are changed by key: mirrored, and as the preprocessing does, but not turned.
        seed: of the changes.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        domains: Sequence[int],
        values: Values,
        view: Callable[[int], NDArray[np.float32]],
        look: Sight,
        targets: Targets,
        *,
        training: bool = False,
        seed: int = 0,
    ):
        self.ids, self.categories = [sample.name for sample in samples], list(domains)
        self._samples, self._values, self._view = list(samples), values, view
        self._look, self._targets, self._training, self._seed = unturned(look), targets, training, seed

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """`image` (channels, H, W), `target` (outputs,), and what `Regression` asks for beside them."""
        epoch, index, draw = key
        sample, truth = self._samples[index], self._values[index]
        image = self._view(index)
        if self._training:
            seen = self._look.training(image, sample, self._seed, key)
            across, down = generator(self._seed, epoch, f"{sample.name} mirrored", draw).integers(2, size=2) == 1
            seen = np.flip(seen, tuple(axis for axis, do in ((-1, across), (-2, down)) if do))
            truth = self._targets.mirrored(truth, across=bool(across), down=bool(down))
        else:
            seen = self._look.prediction(image, sample)
        return {
            "image": torch.from_numpy(np.ascontiguousarray(seen, np.float32)),
            "metadata": torch.empty(0),
            "target": torch.from_numpy(truth.astype(np.float32)),
            "auxiliary": {},
            "index": index,
        }


def unturned(look: Sight) -> Sight:
    """The same sight without random turns, with which angles and places would have to turn."""
    how = look.preprocess
    return replace(look, preprocess=replace(how, d4=False) if isinstance(how, OurPreprocess) else how)


class _Told(nn.Module):
    """A network of (B, outputs) as `Regression` asks it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, metadata: Tensor) -> Told:
        values = self.network(image)
        return Told(values, torch.zeros_like(values), ())


class ParameterRegression(Regression):
    """Regression of parameters, of which some are unknown; `R2` is the mean over the outputs.

    Args:
        build: a fresh network, (B, channels, H, W) to (B, outputs).
        training: lenses to learn from.
        held_out: lenses to measure on.
        names: of the outputs.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        training: ParameterSamples,
        held_out: ParameterSamples,
        names: Sequence[str],
    ):
        super().__init__(lambda: _Told(build()), training, held_out, losses, names, r2)

    def inner(self, model: nn.Module) -> nn.Module:
        """The network itself."""
        return model.network if isinstance(model, _Told) else model

    def summary(self, rows: Sequence[Row]) -> dict[str, float]:
        """The mean loss, and over all known parameters in standard units the root mean square error and R2."""
        truth, found = (
            np.array([[row[f"{name}{kind}"] for name in self._targets] for row in rows]) for kind in ("_truth", "")
        )
        error = float(np.sqrt(np.nanmean((truth - found) ** 2)))
        score = r2(truth, found)
        return {"loss": means(rows)["loss"], "RMSE": error, "R2": float("nan") if score is None else score}


def losses(found: Tensor, log_var: Tensor, truth: Tensor) -> Tensor:
    """The mean Huber loss over the known parameters of each lens, (B,); 0 where none is known."""
    known = torch.isfinite(truth)
    each = F.smooth_l1_loss(found, torch.where(known, truth, 0.0), reduction="none") * known
    return each.sum(dim=1) / known.sum(dim=1).clamp(min=1)


def r2(truth: Values, found: Values) -> float | None:
    """The mean over the outputs of the share of variance that is explained; None where none varies."""
    shares = [share(column, other) for column, other in zip(truth.T, found.T, strict=True)]
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def share(truth: Values, found: Values) -> float | None:
    """The share of the variance of known values that is explained; None where they do not vary."""
    known = np.isfinite(truth) & np.isfinite(found)
    spread = float(np.sum((truth[known] - truth[known].mean()) ** 2)) if known.any() else 0.0
    return 1.0 - float(np.sum((truth[known] - found[known]) ** 2)) / spread if spread > 0.0 else None


def known(samples: Sequence[Sample], frame: pd.DataFrame, table: pd.DataFrame) -> list[Sample]:
    """The samples of lenses of which parameters are known."""
    lenses = set(frame.loc[frame["label"] == 1, "id"]) & set(table.index)
    return [sample for sample in samples if sample.id in lenses]


def task(
    build: Callable[[], nn.Module],
    training: Sequence[Sample],
    held_out: Sequence[Sample],
    frame: pd.DataFrame,
    table: pd.DataFrame,
    look: Sight,
    store: Store,
    targets: Targets,
    *,
    seed: int,
) -> ParameterRegression:
    """The training of a network of parameters.

    Args:
        build: a fresh network, (B, channels, H, W) to (B, outputs).
        training: lenses to learn from.
        held_out: lenses to measure on.
        frame: the catalog.
        table: what is known of lenses, see `lens_table.load`.
        look: what the network sees.
        store: holds the images.
        targets: the outputs.
        seed: of the changes.
    """
    where = zip(frame["bucket"].astype(str), frame["row"].astype(int), strict=True)
    places = dict(zip(frame["id"], where, strict=True))
    domains = dict(zip(frame["id"], frame["domain"], strict=True))

    def samples(part: Sequence[Sample], changed: bool) -> ParameterSamples:
        return ParameterSamples(
            part,
            [DOMAINS.index(domains[sample.id]) for sample in part],
            targets.encoded(table.loc[[sample.id for sample in part]]),
            lambda index: store.read(*places[part[index].id]),
            look,
            targets,
            training=changed,
            seed=seed,
        )

    return ParameterRegression(build, samples(training, True), samples(held_out, False), targets.names)


def data_hash(content: str, table: pd.DataFrame, samples: Sequence[Sample]) -> str:
    """Hash of samples' content and of what is known of them."""
    rows = table.loc[[sample.id for sample in samples]].to_csv(lineterminator="\n")
    return hashlib.blake2b(f"{content}\n{rows}".encode(), digest_size=16).hexdigest()
