import pytest
from pydantic import ValidationError

from hsdata.params import MODEL_SECTIONS, DataParams, load_data_params
from hsengine.base.errors import UserError
from hsengine.base.params import read_yaml, validated


def _load(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    return load_data_params(tmp_path / "params.yaml")


def test_a_misspelt_key_is_named_with_the_likely_one(tmp_path):
    with pytest.raises(UserError, match=r"convert\.chnk: unknown key; did you mean 'chunk'"):
        _load(tmp_path, "convert: {chnk: 64}")


def test_an_unknown_section_lists_what_is_allowed(tmp_path):
    with pytest.raises(UserError, match=r"zzz: unknown key; allowed here: .*convert"):
        _load(tmp_path, "zzz: 1")


def test_an_ill_typed_value_is_named_with_what_is_allowed(tmp_path):
    with pytest.raises(UserError, match=r"convert\.dtype: 'int8' is not allowed: .*float16"):
        _load(tmp_path, "convert: {dtype: int8}")
    with pytest.raises(UserError, match=r"track: '2' is not allowed"):
        _load(tmp_path, "track: '2'")


def test_all_faults_are_told_at_once(tmp_path):
    with pytest.raises(UserError) as caught:
        _load(tmp_path, "track: 3\nconvert: {chunk: x}")
    assert "track" in str(caught.value)
    assert "convert.chunk" in str(caught.value)


def test_the_sections_of_models_are_left_alone(tmp_path):
    assert _load(tmp_path, "\n".join(f"{name}: anything" for name in MODEL_SECTIONS)) == DataParams()


def test_numbers_in_scientific_notation_are_numbers(tmp_path):
    assert _load(tmp_path, "augment: {noise: 1e-2}").augment.noise == 0.01


def test_parameters_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        DataParams().track = 1  # type: ignore[misc]


def test_a_missing_or_broken_file_is_an_error_for_the_user(tmp_path):
    with pytest.raises(UserError, match="project's folder"):
        read_yaml(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(UserError, match="not valid YAML"):
        read_yaml(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("- 1")
    with pytest.raises(UserError, match="key: value"):
        read_yaml(tmp_path / "params.yaml")


def test_a_file_index_needs_its_path():
    with pytest.raises(UserError, match=r"index\.path"):
        validated(DataParams, {"index": {"strategy": "file", "path": None}}, "params.yaml")
