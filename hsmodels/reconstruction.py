"""The task of the challenge: from an RGB image or a mosaic to a cube."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from hsdata import layout
from hsdata.batches.dataset import CubeDataset
from hsdata.cube import BAND_GRID
from hsdata.params import Augment
from hsengine.train.run import say
from hsengine.train.task import Batch, Direction, Row, Task, means
from hsmodels import choice, crossfit, losses, pictures, scoring, zoo
from hsmodels.inference import device_of, finished
from hsmodels.params import Params
from hsmodels.resident import ResidentSamples


class Reconstruction(Task):
    """Train a model of the zoo on the samples of a catalog.

    The best epoch is the one with the highest mean SSC, among those that are scored in full
    (`train.score_every`, and the last). Predictions are held within [`predict.floor`, 1] for the
    score, as everywhere; the loss sees them as they are. A model that predicts full-size RGB, a first
    stage, is watched by its loss.

    Args:
        params: model, track, loss, augmentation, floor.
        training: rows of a catalog to learn from.
        held_out: rows of a catalog to measure on, whole frames, without augmentation.

    Raises:
        UserError: the model is unknown or cannot take the track's input, or a sample cannot be used.
    """

    directions: ClassVar[Mapping[str, Direction]] = {
        **scoring.DIRECTIONS,
        **dict.fromkeys(("loss", "l1", "sam", "ssc"), "min"),
    }

    advice: ClassVar[Mapping[str, str]] = {"memory": "set augment.crop lower"}

    def __init__(self, params: Params, training: pd.DataFrame, held_out: pd.DataFrame) -> None:
        self.params = params
        self.wavelengths = BAND_GRID
        self.target = zoo.target_of(params.model)
        self.watch = scoring.SCORE if self.target == layout.CUBES else "loss"
        self.choice = self._chosen(training)
        self.around = self._around(training, held_out)
        self.loss = losses.ReconstructionLoss(**params.loss.model_dump(), wavelengths=self.wavelengths)
        self._rows = training
        closed = self.is_closed_form(self.model())
        self._folds = self._divided()
        self._basis_error: float | None = None
        self._training = self._samples(training, None if closed else params.augment, learning=True)
        self._held_out = self._samples(held_out, None, learning=False)
        self._cross_fitted: crossfit.CrossFitted | None = None

    def model(self) -> nn.Module:
        """The model of `params.yaml`, from the track's batch to (B, bands, H, W)."""
        params = self.params
        given = params.models.get(params.model, {})
        bands = len(self.wavelengths)
        return zoo.for_track(params.model, params.track, given, bands=bands, input=params.input, **self.around)

    def inner(self, model: nn.Module) -> nn.Module:
        """The network, whose state a model's folder holds."""
        return zoo.inner(model)

    def training(self) -> CubeDataset | ResidentSamples:
        """Augmented crops, or what `augment` says."""
        return self._training

    def held_out(self) -> CubeDataset | ResidentSamples:
        """Whole frames."""
        return self._held_out

    def losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of each sample, (B,), and its parts."""
        start = None if self._cross_fitted is None else self._cross_fitted(batch["input"], batch["index"])
        values, parts = self.loss(self._prediction(model, batch, start), batch["target"])
        return values, parts

    def progress(self, done: float) -> None:
        """Tell the loss how far the training is."""
        self.loss.set_progress(done)

    def measures(self, model: nn.Module, batch: Batch, *, full: bool) -> list[dict[str, float]]:
        """The loss and its parts of each sample; if `full`, the whole score, or PSNR for an RGB target."""
        truth = batch["target"]
        prediction = self._prediction(model, batch).float()
        loss, parts = self.loss(prediction, truth)
        columns = {"loss": loss, **parts}
        if full:
            made = finished(prediction, batch["input"], self.params.predict, self.wavelengths)
            columns |= scoring.values(truth, made, self.wavelengths, self.target)
        return [{name: float(values[i]) for name, values in columns.items()} for i in range(len(truth))]

    def summary(self, rows: Sequence[Row]) -> dict[str, float]:
        """Means over the samples, and by category of the loss and the score."""
        by_category: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            by_category[row["category"]].append(row)
        found = means(rows)
        if self._basis_error is not None:
            found["basis_error"] = self._basis_error
        for category in sorted(by_category):
            values = means(by_category[category])
            found |= {f"by_category/{category}/{name}": values[name] for name in ("loss", self.watch) if name in values}
        return found

    def pictures(self, model: nn.Module, batch: Batch) -> dict[str, NDArray[np.uint8]]:
        """Truth, prediction, error and spectra of a held-out sample, in one picture."""
        if self.target != layout.CUBES:
            return {}
        prediction = self._prediction(model, batch).float()
        prediction = finished(prediction, batch["input"], self.params.predict, self.wavelengths)
        truth = batch["target"][0].cpu().numpy()
        figure = pictures.comparison(truth, prediction[0].cpu().numpy(), self.wavelengths)
        return {"comparison": pictures.pixels(figure)}

    def prepare(self, model: nn.Module) -> bool:
        """Learn the basis, and solve for the closed form that the trained model corrects, on whole frames as they are.

        With `residual_folds`, also for those that training sees in its place.
        """
        base, basis = zoo.base_of(model), zoo.basis_of(model)
        if basis is not None:
            basis.fit(cube for _, cube in self._pairs(self._rows, "learning the basis", basis.mean.device))
            self._basis_error = float(basis.error)
            say(f"{self.params.basis} spectra leave {self._basis_error:.2%} of the training's over (relative RMS)")
        if base is None:
            return basis is not None
        if self.choice is not None:
            say(str(self.choice))
        name = self.around["residual"]
        self._solve(base, self._rows, f"solving for {name}")
        if self._folds:
            bases = self._fresh_bases(device_of(base, torch.empty(0)))
            for number, (fold, places) in enumerate(zip(bases, self._folds, strict=True)):
                rows = crossfit.without(self._rows, places)
                self._solve(fold, rows, f"solving for {name} without fold {number + 1} of {len(bases)}")
            self._cross_fitted = crossfit.CrossFitted(bases, self._folds)
        return True

    def state_dict(self) -> Mapping[str, Any]:
        """The closed forms that training sees, where they are cross-fitted, and what a basis leaves over."""
        fitted = {} if self._cross_fitted is None else {"cross_fitted": self._cross_fitted.state_dict()}
        return fitted if self._basis_error is None else {**fitted, "basis_error": self._basis_error}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self._basis_error = state.get("basis_error")
        if "cross_fitted" in state:
            self._cross_fitted = crossfit.CrossFitted(self._fresh_bases(torch.device("cpu")), self._folds)
            self._cross_fitted.load_state_dict(state["cross_fitted"])

    def is_closed_form(self, model: nn.Module) -> bool:
        """Whether the network is solved for."""
        return zoo.is_closed_form(model)

    def fit(self, model: nn.Module, batches: Iterable[Batch]) -> None:
        """Solve for a closed-form network from (input, target) pairs."""
        zoo.fit(model, ((batch["input"], batch["target"]) for batch in batches))

    def _around(self, *tables: pd.DataFrame) -> dict[str, Any]:
        """What the network is put into, as `zoo.for_track` takes it: nothing if it is solved for, or predicts RGB."""
        params = self.params
        if self.target != layout.CUBES or not zoo.is_trained(params.model):
            return {"residual": "none", "stripes": 0, "basis": params.basis}
        widest = max((int(width) for rows in tables for width in rows["width"]), default=0)
        residual = params.residual if self.choice is None else self.choice.name
        return {"residual": residual, "stripes": widest if params.stripes else 0, "basis": params.basis}

    def _chosen(self, training: pd.DataFrame) -> choice.Choice | None:
        """What cross-validation says, where `residual` asks for it and there is a network to correct a closed form."""
        params = self.params
        if params.residual != choice.CHOSEN or self.target != layout.CUBES or not zoo.is_trained(params.model):
            return None
        return choice.once(params, training)

    def _divided(self) -> list[list[int]]:
        """Places of the training samples by the fold whose closed form serves them; none without cross-fitting."""
        if self.around["residual"] == "none" or self.params.residual_folds < 2:
            return []
        return crossfit.folds_of(self._rows, self.params.residual_folds, self.params.seed)

    def _fresh_bases(self, device: torch.device) -> list[nn.Module]:
        params = self.params
        made = partial(
            zoo.for_track, self.around["residual"], params.track, {}, bands=len(self.wavelengths), input=params.input
        )
        return [made().to(device) for _ in self._folds]

    def _solve(self, base: nn.Module, rows: pd.DataFrame, label: str) -> None:
        """Solve for a closed form."""
        zoo.fit(base, self._pairs(rows, label, device_of(base, torch.empty(0))))

    def _pairs(self, rows: pd.DataFrame, label: str, place: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Whole samples, one by one: (1, C, h, w) and (1, bands, H, W)."""
        samples = self._samples(rows, None, learning=False)
        for number in tqdm(range(len(samples)), desc=label, unit="sample", disable=None):
            pair = samples[0, number, 0]
            yield pair["input"][None].to(place), pair["target"][None].to(place)

    def _prediction(self, model: nn.Module, batch: Batch, start: Tensor | None = None) -> Tensor:
        given = {} if start is None else {"start": start}
        if self.around["stripes"]:
            return model(batch["input"], batch["columns"], batch["transposed"], **given)  # type: ignore[no-any-return]
        return model(batch["input"], **given)  # type: ignore[no-any-return]

    def _samples(self, rows: pd.DataFrame, augment: Augment | None, *, learning: bool) -> CubeDataset | ResidentSamples:
        params = self.params
        chosen: dict[str, Any] = {
            "track": params.track,
            "input": params.input,
            "augment": augment,
            "seed": params.seed,
            "target": self.target,
            # A mixture is of one fold: the closed form that serves it has seen neither part.
            "pools": self._folds if learning else (),
        }
        if params.machine.cache == "device" and learning and torch.cuda.is_available():
            # The engine has chosen this process's GPU by the time of the first sample.
            return ResidentSamples(rows, device=torch.device("cuda"), **chosen)
        return CubeDataset(rows, cache=params.machine.cache, **chosen)
