from pathlib import Path

import numpy as np
import pytest

from hstasks.biomass import baselines, catalog, layout, metadata, split
from hstasks.biomass.compare import compared
from hstasks.biomass.params import Params, Split
from hstasks.biomass.samples import blank

YARDSTICKS = {
    "means": (0.239, 0.230, 0.089),
    "measured_ridge": (0.591, 0.553, -0.943),
    "table_ridge": (0.820, 0.705, -0.300),
    "table_trees": (0.788, 0.602, 0.601),
}
FROZEN = {"resnet18": (0.675, 0.491, 0.307), "dinov2_vits14": (0.736, 0.661, 0.553)}


def test_closed_forms_score_on_the_real_table_what_they_should(shared: Path) -> None:
    mini = shared / "data/biomass-mini"
    rows = catalog.table_rows(layout.train_entries(mini / "full/train.csv", Path("data")))
    forms = {name: baselines.FORMS[name] for name in YARDSTICKS}
    for name in FROZEN:
        with np.load(mini / f"features/{name}.npz") as file:
            features = {Path(str(p)).stem: f for p, f in zip(file["image_path"], file["features"], strict=True)}
        forms[name] = baselines.feature_ridge(features)
    found = compared(rows, Split(), forms)
    for name, wanted in {**YARDSTICKS, **FROZEN}.items():
        assert [found[kind][name] for kind in ("image", "group", "state")] == pytest.approx(wanted, abs=0.01)


def test_unknown_metadata_become_the_training_images_means(project: Params) -> None:
    rows = split.training_rows()
    encoder = metadata.fit(rows[:10], ["ndvi", "season", "state", "date"])
    np.testing.assert_array_equal(encoder(blank(rows)), 0.0)
    np.testing.assert_allclose(encoder(rows[:10]).mean(axis=0), 0.0, atol=1e-9)
    guess = metadata.restored(metadata.fit(rows, ["ndvi", "log_height"], predicted=True).plain())(blank(rows))
    assert np.abs(guess).max() > 0.01


def test_the_linear_form_is_the_colour_ridge(project: Params) -> None:
    rows = split.training_rows()
    found = baselines.applied(baselines.linear(rows[:12]), rows[12:])
    np.testing.assert_allclose(found, baselines.colour_ridge(rows[:12], rows[12:])[:, :3], atol=1e-8)
