import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hstasks.biomass.params as p
from hsengine.base.errors import UserError
from hstasks import networks
from hstasks.biomass import evaluate, folds, predict, prediction, pseudo, split, stack, submit, train
from hstasks.biomass.layout import TARGETS
from hstasks.images import split as splits


@settings(max_examples=8)
@given(seed=st.integers(0, 1000), residual=st.booleans())
def test_the_identities_hold_by_construction(seed: int, residual: bool) -> None:
    torch.manual_seed(seed)
    given_ = {"backbone": "test_resnet", "weights": "random", "hidden": 4, "residual": residual}
    network = networks.build("fused", given_, 3, 5)
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.5)
    grams, _, _ = network.eval()(torch.rand(2, 2, 3, 32, 32), torch.rand(2, 3) * 50)
    green, dead, clover, gdm, total = grams.unbind(1)
    assert (grams >= 0).all()
    torch.testing.assert_close(gdm, green + clover)
    torch.testing.assert_close(total, gdm + dead)


@pytest.mark.parametrize("fusion", ["none", "perceiver"])
def test_a_training_is_evaluated_submitted_and_predicts_a_folder(project: p.Params, fusion: str) -> None:
    options = {"latent_dim": 8, "num_latents": 2, "num_layers": 1, "num_heads": 2} if fusion == "perceiver" else {}
    model = project.model.model_copy(
        update={"options": options, "residual": "colour_ridge", "auxiliary": {"ndvi": 0.1, "state": 0.1}}
    )
    params = project.model_copy(update={"fusion": fusion, "model": model})
    train.run(params)
    summary = evaluate.run(params)
    assert summary.metrics["run"]["same_division"]
    assert "by baseline: means" in str(summary)
    assert set(summary.metrics["inputs"]) == (
        {"image_only"} if fusion == "none" else {"as_test", "mean_metadata", "predicted_metadata", "true_metadata"}
    )
    assert submit.run(params).images == 12
    order = (Path(params.data.root) / "sample_submission.csv").read_text().split()[1:]
    rows = pd.read_csv("outputs/submission/submission.csv")
    assert list(rows["sample_id"]) == [line.partition(",")[0] for line in order]
    predict.run(Path(params.data.root) / "test", Path("there.csv"), [Path("outputs/model")])
    again = pd.read_csv("there.csv").set_index("sample_id")["target"]
    np.testing.assert_allclose(again[rows["sample_id"]].to_numpy(), rows["target"].to_numpy(), atol=2e-4)
    assert len(TARGETS) * 12 == len(again)
    written = {path.name for path in Path("outputs/evaluation").iterdir()}
    assert written >= {"history.json", "config.json", "metadata_info.json", "validation_constraint_metrics.json"}
    known = pd.read_csv("outputs/evaluation/train_metadata.csv")
    assert len(known) == sum(fold != 0 for fold in splits.load().folds.values())
    assert known["Pre_GSHH_NDVI"].notna().all()
    assert known["Dry_Total_g"].notna().all()
    submitted = Path("outputs/submission")
    assert (submitted / "latest_submission.csv").read_bytes() == (submitted / "submission.csv").read_bytes()
    asked = pd.read_csv(submitted / "test_metadata.csv")
    assert len(asked) == 12
    assert asked["Pre_GSHH_NDVI"].isna().all()
    if fusion != "none":
        np.testing.assert_allclose(asked["given ndvi"], known["Pre_GSHH_NDVI"].mean())
    assert [row["epoch"] for row in json.loads(Path("outputs/evaluation/history.json").read_text())] == [0]
    many = {"crops": 2, "layouts": ["whole"], "dropout_passes": 2, "combine": "median"}
    each, _ = prediction.each_view([Path("outputs/model")], split.training_rows(), p.Predict(**many))
    assert len(each) == 2 * 2 * (4 + 2)
    again_each, _ = prediction.each_view([Path("outputs/model")], split.training_rows(), p.Predict(**many))
    np.testing.assert_array_equal(each, again_each)


def test_folds_are_pooled_stacked_and_label_the_test_images(project: p.Params) -> None:
    params = project.model_copy(update={"backbone": "bag17", "fusion": "mlp", "loss": p.Loss(weights="spread")})
    metrics = folds.run(params).metrics
    assert set(metrics["inputs"]) == {"as_test", "mean_metadata", "predicted_metadata", "true_metadata"}
    assert metrics["inputs"]["as_test"]["R2"] == pytest.approx(metrics["R2"], abs=1e-9)
    rows = split.training_rows()
    courses = json.loads(Path("outputs/folds/cv_history.json").read_text())
    assert sorted(courses) == ["fold-0", "fold-1", "fold-2"]
    assert all("val/R2" in epoch for course in courses.values() for epoch in course)
    assert metrics["images"] == len(rows)
    stacked = stack.run(params.model_copy(update={"stack": p.Stack(members=["outputs/folds"], forms=["means"])}))
    assert stacked.metrics["members"]["outputs/folds"] == pytest.approx(metrics["R2"], abs=1e-9)
    assert len(pd.read_csv("outputs/stack/submission.csv")) == len(TARGETS) * 12
    labelling = p.Pseudo(models=["outputs/folds/fold-0/model"], grams=1e3, share=1e3)
    assert pseudo.run(params.model_copy(update={"pseudo": labelling})).taken == 12
    work = train.prepare(params)
    assert work.counts[0] == sum(fold != 0 for fold in splits.load().folds.values()) + 12
    other = p.Pseudo(models=["outputs/folds/fold-1/model"])
    with pytest.raises(UserError, match="another split or fold"):
        pseudo.run(params.model_copy(update={"pseudo": other}))


@pytest.mark.parametrize("fusion", ["none", "mlp", "perceiver"])
def test_networks_can_be_traced_for_any_batch(fusion: str) -> None:
    options = {"latent_dim": 8, "num_latents": 2, "num_layers": 1, "num_heads": 2} if fusion == "perceiver" else {}
    given_ = {"backbone": "bag17", "weights": "random", "fusion": fusion, "metadata_dim": 4, "options": options}
    network = networks.build("fused", given_, 3, 5).eval()
    traced = torch.jit.trace(network, (torch.rand(2, 2, 3, 32, 32), torch.rand(2, 4)))
    views, known = torch.rand(5, 2, 3, 32, 32), torch.rand(5, 4)
    torch.testing.assert_close(traced(views, known)[0], network(views, known).grams, rtol=1e-6, atol=1e-5)


def test_heads_that_do_not_divide_the_width_are_refused(project: p.Params) -> None:
    model = project.model.model_copy(update={"options": {"num_heads": 6}})
    with pytest.raises(UserError, match="6 heads do not divide"):
        train.check(project.model_copy(update={"fusion": "perceiver", "model": model}))
