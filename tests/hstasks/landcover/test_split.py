import numpy as np
import pytest

from hsengine.base.errors import UserError
from hstasks.landcover import catalog, ground, relabel, replicate, sample, split, train
from hstasks.landcover.params import Split

from .conftest import parameters


def test_a_blocked_split_shares_no_ground_and_keeps_apart(project):
    frame = catalog.load()
    made = split.divide(frame, Split(fold=0, test_fold=4, gap=24.0))
    parts = {role: frame[frame["id"].map(made.roles) == role] for role in ("train", "val", "test")}
    assert all(len(part) for part in parts.values()) and made.ids("dropped")
    for held, other in (("val", "train"), ("test", "train"), ("test", "val")):
        assert ground.shared(parts[held], parts[other]) == 0.0
        both = frame[frame["id"].map(made.roles).isin((held, other))].reset_index(drop=True)
        chosen = np.array([made.roles[name] == held for name in both["id"]])
        assert not (ground.near(both, chosen, 24.0) & ~chosen).any()


def test_a_random_split_warns_of_the_ground_it_shares(project):
    told = str(split.divide(catalog.load(), Split(strategy="random")))
    assert "of the ground of 'val' is in training too" in told
    assert "warning" in told and "flatters" in told


def test_sites_are_held_out_whole(project):
    made = split.divide(catalog.load(), Split(strategy="site", folds=2, fold=0))
    sites = {role: {name.rpartition("_")[0] for name in made.ids(role)} for role in ("train", "val")}
    assert not sites["train"] & sites["val"] and all(sites.values())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test_sites": ["nowhere"]}, "no site nowhere"),
        ({"gap": 1e6}, "leaves no tile to train on"),
        ({"test_sites": ["hill-side", "vale"]}, "names every site"),
    ],
)
def test_a_split_that_cannot_be_is_explained(project, changes, said):
    with pytest.raises(UserError, match=said):
        split.divide(catalog.load(), Split(**changes))


def test_what_was_made_with_another_split_is_refused(project):
    split.run(parameters(split={"fold": 3}))
    division = split.load()
    for load in (replicate.load, relabel.load):
        with pytest.raises(UserError, match="made with another split"):
            load(division)
    replicate.run(parameters())
    for stage, said in (("difficulty", "draws.model"), ("finetune", "draws.model|train.start")):
        with pytest.raises(UserError, match=said):
            train.run(parameters(), stage=stage)


def test_a_split_that_was_edited_is_refused(project):
    file = split.FOLDER / split.ROLES
    file.write_text(file.read_text().replace(",val", ",train", 1))
    with pytest.raises(UserError, match="is not what"):
        split.load()


def test_replicas_are_training_tiles_rich_in_a_minority(project):
    division = split.load()
    listed = replicate.load(division)
    assert listed and set(listed) <= set(division.ids("train"))
    counts = np.array([[90, 95, 0, 0, 5, 0], [0, 96, 0, 0, 4, 0], [100, 0, 0, 0, 0, 0], [0, 50, 0, 0, 0, 50]])
    rich = replicate.rich(counts, parameters().replicas)
    assert rich.tolist() == [[True, False], [False, False], [False, False], [False, True]]


def test_labels_that_may_be_several_classes_become_codes(project):
    params = parameters(oem={"table": "possible"})
    relabel.run(params)
    found = relabel.load(split.load())
    assert {found.sets[code] for code in range(6, 9)} == {(2, 3), (2, 5), (3, 5)}
    assert set(found.tiles["use"]) == {"train", "val"} and not set(found.tiles["region"]) & set(sample.URBAN)
    train.run(parameters(oem={"table": "possible"}), stage="oem_pretrain")
    with pytest.raises(UserError, match="was made by 'possible'"):
        train.run(parameters(), stage="oem_pretrain")
