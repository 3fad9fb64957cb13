"""Several members' scores as one, and that one as a decision: fitted on validation alone, stored with the model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsengine.base.errors import UserError
from hsengine.base.wording import some
from hstasks.lenses.split import Decision as Split
from hstasks.metrics import youden

Mean = Literal["probability", "logit"]
Values = NDArray[np.float64]

SPLIT_KEY = "split"
"""Where a model's record has the hash of the split that it was trained on."""

# Probabilities of 0 and 1 have no finite logit.
_EDGE = 1e-7


@dataclass(frozen=True)
class Calibration:
    """What turns the members' scores into a probability and a decision.

    Attributes:
        mean: what is averaged over members, probabilities or logits.
        temperature: divides the logit of the mean; 1: as it is.
        threshold: t*, on the resulting probability; lens where it is reached.
        split: hash of the split on whose validation part this was fitted.
        objects: how many objects that part had.
        d4: whether scores are means over the eight turns and flips.
    """

    mean: Mean
    temperature: float
    threshold: float
    split: str
    objects: int
    d4: bool = True

    def probabilities(self, scores: ArrayLike) -> Values:
        """The probability of each object from the members' (members, objects)."""
        return tempered(averaged(scores, self.mean), self.temperature)

    def decisions(self, probabilities: ArrayLike) -> NDArray[np.int64]:
        """1 where the threshold is reached.

        Raises:
            UserError: a probability is NaN: it is neither above nor below.
        """
        values = np.asarray(probabilities, np.float64)
        if not np.isfinite(values).all():
            raise UserError(f"{int((~np.isfinite(values)).sum())} objects have no score: predict them first.")
        return (values >= self.threshold).astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the model's record."""
        return asdict(self)


def from_dict(record: Mapping[str, Any] | None, source: str = "the model's record") -> Calibration:
    """The calibration that `Calibration.to_dict` described.

    Raises:
        UserError: it is missing or has no threshold: there is no default, 0.5 least of all.
    """
    threshold = (record or {}).get("threshold")
    if record is None or threshold is None or not np.isfinite(threshold):
        raise UserError(
            f"There is no threshold in {source}: fit one on the validation part (stage 'evaluate') before predicting "
            "classes."
        )
    try:
        return Calibration(**{name: record[name] for name in Calibration.__dataclass_fields__})
    except KeyError as error:
        raise UserError(f"The calibration in {source} lacks {error}: fit it again (stage 'evaluate').") from None


def check_members(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Refuse members of an ensemble that were trained on different splits.

    Args:
        records: name of the member -> its record, which has the split's hash under `split`.

    Returns:
        The hash that they share.

    Raises:
        UserError: there is no member, one states no split, or they differ: a member would be judged on objects that
            another was trained on.
    """
    hashes = {name: str(record.get(SPLIT_KEY) or "") for name, record in records.items()}
    silent = sorted(name for name, value in hashes.items() if not value)
    if not hashes:
        raise UserError("An ensemble needs at least one member.")
    if silent:
        raise UserError(f"The records of {some(silent)} do not say on which split they were trained: train them anew.")
    if len(set(hashes.values())) > 1:
        listed = ", ".join(f"{name}: {value[:12]}" for name, value in sorted(hashes.items()))
        raise UserError(
            f"The members were trained on different splits ({listed}): one would be measured on objects that another "
            "was trained on. Train all of them on one split (keep split.seed, vary seed)."
        )
    return next(iter(hashes.values()))


def joined(
    members: Mapping[str, Mapping[str, float]], unseen: Mapping[str, Collection[str]] | None = None
) -> tuple[list[str], Values]:
    """The members' scores of the same objects.

    Args:
        members: name -> (object -> probability).
        unseen: name -> objects that the member cannot score, as those without a band that it sees.

    Returns:
        Ids of what any member scored, sorted, and scores (members, objects), NaN where a member cannot.

    Raises:
        UserError: a member lacks an object that it could have scored, or a score is no probability.
    """
    if not members:
        raise UserError("An ensemble needs at least one member.")
    every = sorted(set().union(*members.values()))
    for name, scores in members.items():
        excused = (unseen or {}).get(name, ())
        missing = [entry for entry in every if entry not in scores and entry not in excused]
        if missing:
            raise UserError(f"The member {name} has no score of {len(missing)} objects: {some(missing)}. Predict them.")
        wrong = sorted(entry for entry, value in scores.items() if not 0.0 <= value <= 1.0)
        if wrong:
            raise UserError(f"The member {name} has scores of {some(wrong)} that are no probabilities.")
    rows = [[scores.get(entry, np.nan) for entry in every] for scores in members.values()]
    return every, np.asarray(rows, np.float64)


def of_objects(bands: Iterable[tuple[str, str, float]], mean: Mean = "probability") -> dict[str, float]:
    """The scores of objects from those of their bands, all of which count.

    Args:
        bands: (object, band, probability) of every file.
        mean: what is averaged.

    Raises:
        UserError: a band of an object is there twice.
    """
    found: dict[str, dict[str, float]] = {}
    for name, band, value in bands:
        if band in found.setdefault(name, {}):
            raise UserError(f"Object {name} has two scores of band {band}: give one for each file.")
        found[name][band] = value
    return {name: float(averaged(np.asarray([*own.values()])[:, None], mean)[0]) for name, own in found.items()}


def averaged(scores: ArrayLike, mean: Mean) -> Values:
    """The mean over the first axis of probabilities, or the probability of their mean logit; NaN is left out."""
    values = np.asarray(scores, np.float64)
    return np.asarray(_mean(values) if mean == "probability" else _sigmoid(_mean(_logit(values))))


def _mean(values: Values) -> Values:
    there = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(there, values, 0.0).sum(axis=0) / there.sum(axis=0))


def tempered(probabilities: ArrayLike, temperature: float) -> Values:
    """Probabilities whose logits are divided by a temperature (Guo et al. 2017, arXiv:1706.04599)."""
    values = np.asarray(probabilities, np.float64)
    return values if temperature == 1.0 else _sigmoid(_logit(values) / temperature)


def fit(
    ids: Sequence[str],
    scores: ArrayLike,
    labels: ArrayLike,
    split: Split,
    *,
    mean: Mean = "probability",
    temperature: bool = False,
    d4: bool = True,
) -> Calibration:
    """Fit the temperature (least cross-entropy) and the threshold (Youden's t*) on validation objects.

    Args:
        ids: objects of the validation part.
        scores: (members, objects) probabilities.
        labels: (objects,) 1 lens, 0 non-lens.
        split: what the members were trained on.
        mean: what is averaged over members.
        temperature: whether to fit one; otherwise it is 1.
        d4: whether the scores are means over the eight turns and flips.

    Raises:
        UserError: an object is not of the validation part, or one of the labels is missing there.
    """
    validation = set(split.rows.loc[split.rows["part"] == "val", "id"])
    strange = sorted(set(ids) - validation)
    if strange:
        raise UserError(
            f"{len(strange)} objects are not of the validation part: {some(strange)}. A threshold that is fitted on "
            "others flatters or cheats."
        )
    truth = np.asarray(labels, np.float64)
    means = averaged(scores, mean)
    heat = _temperature(means, truth) if temperature else 1.0
    if len(set(truth.tolist())) < 2:
        raise UserError(f"The {len(truth)} validation objects are of one class: no threshold can be found on them.")
    chances = tempered(means, heat)
    threshold = youden(truth.astype(np.int64), chances)
    if threshold is None:
        # The best that such scores can do is to call nothing a lens.
        threshold = float(np.nextafter(chances.max(), np.inf))
    return Calibration(mean, heat, float(threshold), split.hash, len(truth), d4)


def _temperature(probabilities: Values, labels: Values) -> float:
    from scipy.optimize import minimize_scalar

    logits = _logit(probabilities)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0.0, scaled) - labels * scaled))

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))


def _logit(probabilities: Values) -> Values:
    values = np.clip(probabilities, _EDGE, 1.0 - _EDGE)
    return np.asarray(np.log(values) - np.log1p(-values))


def _sigmoid(logits: Values) -> Values:
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))
