import pytest

from hsengine.base.errors import UserError
from hsengine.study import recipe
from hsmodels.project import PROJECT

PARAMS = """\
# which track
track: 2  # 1 or 2
train:
  # passes over the data
  epochs: 60
  lr: 4e-4
  clip_norm: null  # none
models:
  mstpp: {n_feat: 31, stage: 1}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "recipes").mkdir()
    return tmp_path


def _recipe(project, text, name="mine"):
    (project / "recipes" / f"{name}.yaml").write_text(text)


def test_applying_a_recipe_changes_its_keys_and_keeps_the_comments(project):
    _recipe(project, "# A long run.\ntrain: {epochs: 1000}\nmodels: {mstpp: {stage: 3}}\n")
    assert recipe.apply(PROJECT, "mine") == ["train.epochs: 60 -> 1000", "models.mstpp.stage: 1 -> 3"]
    expected = PARAMS.replace("epochs: 60", "epochs: 1000").replace("stage: 1", "stage: 3")
    assert (project / "params.yaml").read_text() == expected


def test_applying_twice_changes_nothing_more(project):
    _recipe(project, "train: {epochs: 1000}\n")
    recipe.apply(PROJECT, "mine")
    assert recipe.apply(PROJECT, "mine") == []


def test_a_table_of_steps_is_replaced_as_a_whole(project):
    (project / "params.yaml").write_text("augment:\n  crop_steps: {0: 32, 20: 64}   # epoch: crop\n  flip: true\n")
    _recipe(project, "augment: {crop_steps: {5: 48}}\n")
    assert recipe.apply(PROJECT, "mine") == ["augment.crop_steps: {0: 32, 20: 64} -> {5: 48}"]
    expected = "augment:\n  crop_steps: {5: 48}           # epoch: crop\n  flip: true\n"
    assert (project / "params.yaml").read_text() == expected


def test_a_block_that_is_not_there_yet_is_added_on_one_line(project):
    _recipe(project, "models: {raw2hsi: {base_ch: 8, clamp: null}}\n")
    assert recipe.apply(PROJECT, "mine") == ["models.raw2hsi: not set -> {base_ch: 8, clamp: null}"]
    assert (project / "params.yaml").read_text() == PARAMS + "  raw2hsi: {base_ch: 8, clamp: null}\n"


def test_an_unknown_key_in_a_recipe_is_an_error_and_nothing_is_written(project):
    _recipe(project, "train: {epoch: 1000}\n")
    with pytest.raises(UserError, match=r"mine\.yaml cannot be used:\n  train\.epoch: unknown key; did you mean"):
        recipe.apply(PROJECT, "mine")
    assert (project / "params.yaml").read_text() == PARAMS


def test_an_unknown_recipe_names_the_likely_one(project):
    _recipe(project, "track: 2\n", "track2-best")
    with pytest.raises(UserError, match="did you mean 'track2-best'"):
        recipe.apply(PROJECT, "track2-bset")


def test_a_recipe_tells_its_purpose(project):
    _recipe(project, "# The published best.\ntrack: 2\n")
    assert recipe.read(PROJECT, "mine").purpose == "The published best."
    assert recipe.names("recipes") == ["mine"]


def test_a_recipe_is_built_on_another_and_wins_over_it(project):
    _recipe(project, "# Shared.\ntrack: 1\ntrain: {epochs: 7, lr: 1e-2}\naugment: {crop_steps: {1: 8}}\n", "_shared")
    _recipe(project, "# First.\nbase: _shared\ntrain: {epochs: 8}\n", "first")
    _recipe(project, "# Second.\nbase: first\ntrack: 2\naugment: {crop_steps: {3: 16}}\n", "second")
    found = recipe.read(PROJECT, "second")
    assert found.values == {"track": 2, "train": {"epochs": 8, "lr": 1e-2}, "augment": {"crop_steps": {3: 16}}}
    assert recipe.names("recipes") == ["first", "second"]
    assert str(found).startswith("# Second.\n")
    assert "  crop_steps: {3: 16}\n" in str(found)


def test_recipes_that_are_built_on_one_another_or_on_nothing_are_errors(project):
    _recipe(project, "base: other\n")
    _recipe(project, "base: mine\n", "other")
    with pytest.raises(UserError, match=r"other\.yaml: base: mine is built on this recipe itself"):
        recipe.read(PROJECT, "mine")
    _recipe(project, "base: othr\n")
    with pytest.raises(UserError, match=r"no recipe 'othr' in recipes as 'mine' wants .* did you mean 'other'"):
        recipe.read(PROJECT, "mine")
