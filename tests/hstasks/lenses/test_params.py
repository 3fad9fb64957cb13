from typing import Any

import pytest

from hsengine.base.errors import UserError
from hsengine.base.params import validated
from hstasks.lenses.params import LensSections


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"split": {"strategy": "file"}}, "split.path must name"),
        ({"split": {"val": 0.5, "test": 0.5}}, "leave nothing to train on"),
        ({"preprocess": {"published": {"pad": 40}}}, "preprocess.published.pad: 40 is not allowed"),
        ({"submission": {"filler": 0}}, "submission.filler: 0 is not allowed"),
        ({"convert": {"shards": 4}}, "did you mean 'shard'"),
    ],
)
def test_what_is_not_allowed_is_named(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        validated(LensSections, raw, "params.yaml")
