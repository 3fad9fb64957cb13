import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hstasks.lenses import targets
from hstasks.lenses.layout import LENS_VALUES


def _table(count=40, unknown=("zlens", "vel disp")):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.uniform(0.2, 2.0, count) for name in LENS_VALUES})
    for angle in targets.ANGLES.values():
        table[angle] = rng.uniform(0.0, 180.0, count)
    return table.assign(**dict.fromkeys(unknown, np.nan))


def test_what_is_learned_gives_the_columns_back():
    table = _table()
    made = targets.fit(table)
    found = made.decoded(made.encoded(table))
    assert set(found) == set(targets.COLUMNS) - {"zlens", "vel disp"}
    for name in found:
        assert found[name].to_numpy() == pytest.approx(table[name].to_numpy())
    assert targets.from_dict(made.to_dict(), "m") == made


@given(st.floats(0.0, 179.0), st.floats(0.0, 179.0))
def test_angles_that_are_near_modulo_180_are_near_as_targets(one, other):
    table = _table(2).assign(sh=1.0, sh_PA=[one, other])
    raw = targets.Targets(("sh cos", "sh sin"), (0.0, 0.0), (1.0, 1.0)).encoded(table)
    apart = abs((one - other + 90.0) % 180.0 - 90.0)
    assert np.hypot(*(raw[0] - raw[1])) == pytest.approx(2.0 * np.sin(np.radians(apart)), abs=1e-9)


@given(st.booleans(), st.booleans())
def test_a_mirror_is_its_own_inverse_and_keeps_strengths(across, down):
    table = _table()
    made = targets.fit(table)
    values = made.encoded(table)[0]
    mirrored = made.mirrored(values, across=across, down=down)
    assert made.mirrored(mirrored, across=across, down=down) == pytest.approx(values)
    before, after = (made.decoded(each[None]).iloc[0] for each in (values, mirrored))
    turned = [*targets.ANGLES.values(), "srcx", "srcy"]
    assert before.drop(turned).to_numpy() == pytest.approx(after.drop(turned).to_numpy())
    assert after["srcx"] == pytest.approx(-before["srcx"] if across else before["srcx"])
    expected = -before["sh_PA"] % 180.0 if across != down else before["sh_PA"]
    assert after["sh_PA"] == pytest.approx(expected)


def test_the_chosen_columns_are_predicted():
    made = targets.fit(_table(), ["Rein", "sh", "sh_PA"])
    assert made.names == ("Rein", "sh cos", "sh sin")


@pytest.mark.parametrize(
    ("columns", "said"),
    [(["Rain"], "Rein"), (["RA"], "no parameter"), (["sh"], "together"), (["zlens"], "unknown"), ([], "No parameter")],
)
def test_what_cannot_be_predicted_is_named(columns, said):
    with pytest.raises(UserError, match=said):
        targets.fit(_table(), columns)
