from hypothesis import given
from hypothesis import strategies as st

from hstasks.report.page import chosen


@given(st.integers(0, 200), st.integers(4, 60))
def test_the_worst_and_the_best_are_among_those_shown_each_once(count, most):
    found = chosen(range(count), most)
    assert found == sorted(set(found))
    assert len(found) == min(count, most)
    assert set(range(min(count, most // 2))) <= set(found)
    assert not count or count - 1 in found
