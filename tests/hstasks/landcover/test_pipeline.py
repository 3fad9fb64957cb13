import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hsengine.base.errors import UserError
from hstasks.images import geotiff, readers
from hstasks.landcover import (
    aggregate,
    draws,
    evaluate,
    leak,
    learner,
    predict,
    scoring,
    split,
    stages,
    submit,
    train,
)
from hstasks.landcover import test as sealed
from hstasks.landcover.samples import samples
from hstasks.networks.output import Output

from .conftest import parameters


def spoil_test_masks(folder: Path) -> None:
    for name in split.load().ids("test"):
        (folder / "data/target/masks" / f"{name}.png").write_bytes(b"no mask")


def test_every_stage_trains_without_a_test_mask(project):
    spoil_test_masks(project)
    params = parameters()
    for stage in params.stages:
        made = train.run(params, stage=stage)
        assert made.config["split"] == split.load().hash and made.folder == stages.model(params, stage)
        if stage != "teacher":
            evaluate.run(params, stage=stage)
    told = str(aggregate.run(params))
    assert all(f"{stage}/best" in told for stage in params.stages if stage != "teacher")
    submit.run(params)
    with pytest.raises(UserError, match=r"masks/vale_0001\.png"):
        sealed.run(params)


def test_an_evaluation_writes_the_published_keys_and_pictures(project):
    evaluate.run(parameters())
    place = Path("outputs/stages/baseline/evaluation")
    names = {"metrics.json", "evaluation_report.txt", "confusion_matrix.png"}
    assert {file.name for file in place.iterdir()} == names | {"class_iou_scores.png", "class_f1_scores.png"}
    metrics = json.loads((place / "metrics.json").read_text())
    for key in ("checkpoint", "split", "ignore_index", "OA", "mIoU_excluding_bg", "mF1_excluding_bg"):
        assert key in metrics
    assert metrics["per_class_iou"][0] is None and len(metrics["per_class_f1"]) == 6
    matrix = np.array(metrics["confusion_matrix"])
    # The ground of the validation once, though its tiles overlap.
    rows = split.rows(split.VAL)
    assert matrix.sum() == metrics["pixels"] < int(split.counts_of(rows)[:, 1:].sum())
    assert Path("outputs/metrics.json").exists()


def test_a_teacher_is_no_student(project):
    params = parameters()
    with pytest.raises(UserError, match=r"9 classes.*a teacher is no student"):
        evaluate.run(params, stage="teacher")
    started = parameters(stages={"finetune": {"like": None, "set": {"train.start": "outputs/stages/teacher/model"}}})
    with pytest.raises(UserError, match="another shape"):
        train.run(started, stage="finetune")
    told = {"like": None, "set": {"distillation.teacher": "outputs/stages/baseline/model"}}
    with pytest.raises(UserError, match="has 6 classes"):
        train.run(parameters(stages={"distillation": told}), stage="distillation")


def test_the_test_is_made_once(project):
    params = parameters()
    first = sealed.run(params)
    assert first.made and first.tests == 1
    spoil_test_masks(project)
    # Of a run that was killed after it had sealed.
    Path(".part-left").mkdir()
    again = sealed.run(params)
    assert not Path(".part-left").exists()
    assert again.score == first.score and not again.made and "no test mask was opened" in str(again)
    shutil.copytree(stages.model(params), "kept")
    train.run(parameters(seed=5))
    with pytest.raises(UserError, match=r"test_seal\.json: the test was made with another model"):
        sealed.run(params)
    assert len(sealed.read()) == 1


def test_another_model_needs_a_reason_which_is_kept(project):
    first = sealed.run(parameters())
    train.run(parameters(seed=5))
    second = sealed.run(parameters(test={"reason": "the first had a fault"}))
    assert second.made and second.tests == 2
    tests = sealed.read()
    assert tests[1]["reason"] == "the first had a fault" and tests[0]["score"] == first.score
    assert tests[0]["model"] != tests[1]["model"]


def test_a_split_without_test_ends_well(project):
    params = parameters(split={"test_sites": []})
    split.run(params)
    assert "No tile is for the test" in str(sealed.run(params))


class Pointwise(nn.Module):
    """A network that looks at each pixel alone."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 1)

    def forward(self, x):
        return Output(self.conv(x))


@pytest.mark.parametrize("views", [False, True])
def test_windows_and_views_change_nothing_of_a_pointwise_network(project, views):
    torch.manual_seed(0)
    mapper = predict.Mapper(Pointwise().eval(), parameters(), 6, 32, views, torch.device("cpu"))
    assert predict.seams(mapper, project / "data/target/scenes/vale.tif") < 1e-6


def test_a_map_lies_where_its_scene_does(project):
    scene = project / "data/target/scenes/vale.tif"
    with geotiff.opened(scene) as dataset:
        pixels, where = dataset.read(), geotiff.place_of(dataset)
    pixels[:, :10] = 0
    (project / "in").mkdir()
    geotiff.write(project / "in" / "part.tif", pixels, where)
    predict.run(project / "in", project / "out", [stages.model(parameters())], window=64)
    found = geotiff.place(project / "out/part.tif")
    assert (found.crs, found.transform) == (where.crs, where.transform)
    labels = readers.read_labels(project / "out/part.tif")
    assert labels.shape == (where.height, where.width) and not labels[:10].any()
    shares = readers.read(project / "out/part_shares.tif")
    assert shares.shape[0] == 6 and (shares[:, :10] == 255).all()
    np.testing.assert_allclose(shares[:, 10:].sum(axis=0), 100, atol=3)


def test_a_random_split_is_compared_with_a_blocked_one_on_the_same_tiles(project):
    found = leak.run(parameters(split={"folds": 5}, leak={"updates": 2, "draws": 2}))
    shared = {row.strategy: row.shared for row in found.rows}
    assert shared["blocked"] == 0.0 and shared["random"] > 0.3
    assert len({row.count for row in found.rows}) == 1 and all(len(row.scores) == 2 for row in found.rows)
    assert "The random split says" in str(found) and f"on the same {found.measured} tiles" in str(found)


def test_a_leak_is_told_from_chance_by_its_draws():
    def said(*scores):
        rows = [leak.Row("random", 9, 0.9, list(scores)), leak.Row("blocked", 9, 0.0, [0.3, 0.4, 0.5])]
        return str(leak.Summary(rows, 4))

    assert "+0.1000 more" in said(0.41, 0.5, 0.59) and ", told from zero" in said(0.41, 0.5, 0.59)
    assert "not told from zero" in said(0.1, 0.9, 0.5)
    assert "undefined" in said(None, None, None)


def test_draws_follow_what_a_model_finds_hard(project):
    division = split.load()
    rows = split.rows(split.TRAIN, division)
    for kind in ("difficulty", "hardness_richness", "class_balanced", "rare_class"):
        given = {"kind": kind, "model": "outputs/stages/baseline/model"}
        weights = draws.weights(parameters(draws=given), rows, division)
        assert len(weights) == len(rows) and min(weights) >= 0 and sum(weights) > 0
        if kind == "difficulty":
            assert (min(weights), max(weights)) == (1.0, 5.0)


def test_standardised_bands_have_mean_0_and_deviation_1_over_the_training_tiles(project):
    params = learner.standardised(parameters(standardise=True))
    tiles = samples(split.rows(split.TRAIN), params.data, params.input)
    shown = torch.cat([tiles[0, index, 0]["image"].flatten(1) for index in range(len(tiles))], dim=1)
    assert torch.allclose(shown.mean(dim=1), torch.zeros(3), atol=1e-2)
    assert torch.allclose(shown.std(dim=1), torch.ones(3), atol=1e-2)
    told = train.run(parameters(standardise=True, balance=0.5)).config["params"]
    assert told["input"]["mean"] == params.input.mean and told["input"]["std"] == params.input.std
    assert learner.standardised(parameters()).input == parameters().input


def test_rare_classes_weigh_more_in_the_loss():
    counts = np.array([[0, 90, 0, 0, 0, 10]])
    weights = learner.supervision(parameters(balance=0.5), counts).loss.options["cross_entropy"]["class_weights"]
    assert weights[5] / weights[1] == pytest.approx(3.0, rel=1e-4) and weights[0] == weights[2] == 1.0
    assert "class_weights" not in learner.supervision(parameters(), counts).loss.options["cross_entropy"]
    with pytest.raises(UserError, match="balance: it weighs the target's classes"):
        train.check(parameters(balance=0.5, loss="dice"))


def test_rare_classes_are_drawn_first():
    counts = np.array([[0, 100, 0, 0, 0, 0], [0, 90, 0, 0, 0, 10], [50, 0, 0, 0, 0, 0]])
    weights = draws.rare_class_weights(counts, 0.01)
    assert weights[1] > 0.99 and weights[2] == 0.0 and weights.sum() == pytest.approx(1.0)


def test_stages_build_on_each_other():
    params = parameters()
    assert stages.chain(params, "crops") == ["baseline", "replication", "difficulty", "crops"]
    made = stages.resolved(params, "crops")
    assert made.replicas.copies == 1 and made.draws.kind == "difficulty" and made.crops.rule == "meant"
    assert stages.resolved(params, "baseline").replicas.copies == 0
    for wrong, said in (
        ({"a": {"like": "b"}, "b": {"like": "a"}}, "a is like b is like a|b is like a is like b"),
        ({"a": {"set": {"draws.knd": 1}}}, "no parameter 'draws.knd'"),
        ({"a": {"set": {"draws.kind": "odd"}}}, "draws.kind"),
    ):
        with pytest.raises(UserError, match=said):
            stages.resolved(parameters(stages=wrong), "a")
    with pytest.raises(UserError, match=r"no stage 'crop'.*crops"):
        stages.resolved(params, "crop")


def test_a_stage_is_decided_by_the_stages_that_it_needs_alone():
    params = parameters(stage="distillation")
    assert list(stages.decides(params)["stages"]) == ["baseline", "teacher", "distillation"]
    crops = parameters(stage="crops")
    assert list(stages.decides(crops)["stages"]) == ["baseline", "replication", "difficulty", "crops"]
    changed = {**params.model_dump()["stages"], "crops": {"like": "baseline", "set": {}}}
    assert stages.decides(parameters(stage="distillation", stages=changed)) == stages.decides(params)
    assert stages.decides(parameters(stage="crops", stages=changed)) != stages.decides(crops)


def test_undefined_measures_are_said_to_be():
    tally = scoring.Tally()
    tally.matrix[2, 2] = 10
    found = scoring.summed(tally) | {"checkpoint": "a/best", "split": "val"}
    assert found["per_class_iou"][3] is None and found["seam_error"] is None
    assert "undefined" in scoring.report(found)
