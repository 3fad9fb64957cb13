from pathlib import Path

import pytest

from hsengine.base.params import read_yaml
from hsengine.study import plan, recipe
from hstasks.landcover import stages, train
from hstasks.landcover.challenge import PROJECT

from .conftest import parameters

FOLDER = Path(__file__).parents[3] / "challenges" / "landcover"
NAMES = recipe.names(FOLDER / "recipes")


def of_recipe(name):
    """All parameters with a recipe applied."""
    values = recipe.read(PROJECT, name, FOLDER / "recipes").values
    made = plan.Plan(plan.Study.model_validate({"name": "one"}), PROJECT, read_yaml(FOLDER / "params.yaml"))
    return made.parameters(plan.Experiment(name, name, values))


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_of_every_recipe_can_be_made(name):
    params = of_recipe(name)
    assert params.stage in params.stages
    for stage in params.stages:
        train.check(stages.resolved(params, stage))


def test_the_published_system_has_its_optimiser_and_its_cycles():
    made = stages.resolved(of_recipe("as_published"), "published")
    assert (made.model.network, made.train.optimizer) == ("unetformer", "lookahead_adamw")
    assert [round(made.train.epochs * share) for share in made.train.cycle_lengths] == [15, 30]
    assert made.crops.rule == "published" and made.split.strategy == "random"


def test_a_stage_trains_with_lookahead_in_cycles_that_double(project):
    settings = {"optimizer": "lookahead_adamw", "cycles": [1, 2], "epochs": 3}
    made = train.run(parameters(train=settings), stage="baseline")
    assert made.config["epochs"] == 3
