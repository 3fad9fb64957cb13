import subprocess
import sys

import pytest

from hsengine.base import code
from hsengine.base.errors import UserError
from hstasks import challenge


def test_a_parameter_file_names_its_challenge(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("challenge: salt\nseed: 4\n")
    found, params = challenge.load(file)
    assert found.project.name == "salt"
    assert params.seed == 4


@pytest.mark.parametrize(
    ("content", "said"),
    [("seed: 1\n", "names no challenge"), ("challenge: sald\n", "salt"), ("challenge: [salt]\n", "salt")],
)
def test_a_file_that_names_none_is_refused(tmp_path, content, said):
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(UserError, match=said):
        challenge.of(tmp_path / "params.yaml")


def test_an_unknown_key_is_named_with_what_is_near(tmp_path):
    (tmp_path / "params.yaml").write_text("challenge: salt\nsplit: {fould: 1}\n")
    with pytest.raises(UserError, match=r"split\.fould.*'fold'"):
        challenge.load(tmp_path / "params.yaml")


def test_a_verb_that_a_challenge_lacks_is_refused_with_those_it_has():
    with pytest.raises(UserError, match="mosaic"):
        challenge.named("salt").run("replicate")


def test_every_verb_of_the_salt_challenge_is_a_module_with_run():
    found = challenge.named("salt")
    for verb in [*found.stages, *found.tools]:
        assert callable(found.run(verb))


def test_the_parameters_of_the_salt_challenge_are_read_without_torch():
    said = "import sys; from hstasks import challenge; challenge.named('salt'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0


def test_an_edit_of_the_augmentation_leaves_the_data_stages_alone():
    stages = challenge.named("salt").stages
    touched = {stage for stage, module in stages.items() if "hstasks.images.transforms" in code.closure(module)}
    assert "train" in touched
    assert not touched & {"catalog", "mosaic", "split"}
