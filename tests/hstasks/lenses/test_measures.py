import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hsengine.base.errors import UserError
from hstasks import metrics
from hstasks.lenses import measures


def scored(count: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    label = np.arange(count) % 2
    frame = pd.DataFrame({"id": [f"o{index}" for index in range(count)], "label": label})
    frame["prob"] = 1.0 / (1.0 + np.exp(-(2.0 * label - 1.0 + rng.standard_normal(count))))
    frame["domain"] = np.where(np.arange(count) % 4 < 2, "slsim", "hsc")
    frame["band"] = ""
    frame["group"] = np.arange(count) // 2
    frame["mag_lens_i"] = np.where(np.arange(count) % 10 == 0, np.nan, rng.uniform(19.0, 22.0, count))
    frame["rein"] = np.where(label == 1, rng.uniform(0.6, 1.4, count), np.nan)
    return frame.assign(path=frame["id"] + ".fits")


def test_measures_are_given_by_part_with_intervals() -> None:
    frame = scored()
    found = measures.measures(frame, 0.5, resamples=10)
    assert list(found)[:3] == ["all", "domain::slsim", "domain::hsc"]
    assert {"rein::0..0.7", "rein::0.7..1", "rein::1..1.5", "mag_lens_i::19.5..20.5"} < set(found)
    assert not any(name.startswith("band") for name in found)
    assert found["all"]["auroc"] == metrics.auroc(frame["label"], frame["prob"])
    low, high = found["all"]["interval"]["auroc"]
    assert low < found["all"]["auroc"] < high
    inside = frame[frame["rein"].between(0.7, 1.0, inclusive="left") | (frame["label"] == 0)]
    assert found["rein::0.7..1"]["auroc"] == metrics.auroc(inside["label"], inside["prob"])
    assert json.loads(json.dumps(found)) == found


def test_single_bands_are_measured_where_they_were_scored() -> None:
    frame = pd.concat([scored().assign(band=band) for band in "gr"])
    found = measures.measures(frame, resamples=0)
    assert found["band::g"]["auroc"] == found["band::r"]["auroc"]
    assert "interval" not in found["all"] and "accuracy" not in found["all"]


def test_parts_of_one_class_have_no_ranking_and_nothing_is_an_error() -> None:
    frame = scored()
    found = measures.measures(frame.assign(domain=np.where(frame["label"] == 1, "hsc", "slsim")), 0.5, resamples=5)
    assert found["domain::hsc"]["auroc"] is None and found["domain::hsc"]["interval"]["auroc"] is None
    with pytest.raises(UserError, match="no scored object"):
        measures.measures(frame.head(0))


def test_plots_are_drawn(tmp_path: Path) -> None:
    files = measures.plot(tmp_path, scored(), 0.4)
    assert [path.name for path in files] == ["roc.png", "calibration.png", "scores.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files)
