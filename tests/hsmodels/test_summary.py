import io
import json

import pytest
from rich.console import Console

from hsengine.base.errors import UserError
from hsmodels import summary

METRICS = {
    **dict.fromkeys(("SSC_arith", "SAM_deg", "SID", "ERGAS", "PSNR_dB", "SSIM", "DeltaE00"), 1.0),
    "SSC": 0.4321,
    "images": 6,
    "category": {"1": {"SSC": 0.5, "images": 6}},
    "region": {"rail": {"SSC": 0.25}},
    "baseline": {"ridge": {"SSC": 0.1234}},
    "run": {"model": "mstpp", "checkpoint": "best", "leading": "SSC"},
}


def _shown(found):
    text = io.StringIO()
    Console(width=100, file=text).print(found)
    return text.getvalue()


def test_the_table_shows_the_score_beside_the_bar_to_clear(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    text = _shown(summary.table(tmp_path / "metrics.json"))
    for expected in (
        "6 held-out",
        "best checkpoint",
        "mstpp: SSC",
        "0.4321",
        "baseline ridge",
        "0.1234",
        "region rail",
    ):
        assert expected in text


def test_a_first_stage_is_shown_by_the_value_it_has(tmp_path):
    metrics = {"PSNR_dB": 31.25, "images": 2, "run": {"model": "first", "checkpoint": "last", "leading": "PSNR_dB"}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert "31.2500" in _shown(summary.table(tmp_path / "metrics.json"))


def test_missing_or_foreign_metrics_name_the_remedy(tmp_path):
    with pytest.raises(UserError, match="dvc repro"):
        summary.table(tmp_path / "metrics.json")
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="is not what"):
        summary.table(tmp_path / "metrics.json")
