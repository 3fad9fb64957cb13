from ruamel.yaml import YAML

from hsengine.base.params import flat, written


def test_nested_keys_become_dotted_ones():
    values = {"train": {"lr": 0.1, "launch": {"port": 1}}, "model.name": "unet"}
    assert flat(values) == {"train.lr": 0.1, "train.launch.port": 1, "model.name": "unet"}


def test_tables_and_empty_mappings_stay_as_they_are():
    assert flat({"augment": {"crop_steps": {0: 8}, "other": {}}}) == {
        "augment.crop_steps": {0: 8},
        "augment.other": {},
    }


def test_values_are_written_as_yaml_reads_them():
    for value in (None, True, 0.5, 3, "adam", [1, 2], {"momentum": 0.9, "nesterov": False, "none": None}):
        assert YAML(typ="safe").load(written(value)) == value
