import json

import pytest

from hsengine.base.errors import UserError
from hsengine.base.paths import state_folder
from hstasks.lenses import lots


@pytest.fixture(autouse=True)
def small_lots(monkeypatch, tmp_path):
    monkeypatch.setattr(lots, "LOT", 3)
    monkeypatch.setenv("HYPEROBJECT_STATE", str(tmp_path / "state"))


class Work:
    """Adds up numbers; is killed at a lot."""

    def __init__(self, killed_at=None):
        self.asked, self.killed_at = [], killed_at

    def __call__(self, lot):
        if self.killed_at in lot:
            raise KeyboardInterrupt
        self.asked.append(list(lot))
        return [sum(lot), 0.1 + sum(lot)]


def _all(work, key="one"):
    with lots.kept(key) as answers:
        return list(answers.of(range(10), work, "adding"))


WHOLE = [[3, 3.1], [12, 12.1], [21, 21.1], [9, 9.1]]


def _killed(at):
    with pytest.raises(KeyboardInterrupt):
        _all(Work(at))


def test_lots_are_answered_in_order_and_nothing_stays():
    assert _all(Work()) == WHOLE
    assert not list((state_folder() / "scorings").iterdir())


def test_a_killed_run_is_taken_up_where_it_stopped(capsys):
    _killed(7)
    second = Work()
    assert _all(second) == WHOLE
    assert second.asked == [[6, 7, 8], [9]]
    assert "6 of 10 objects were scored by an earlier run" in capsys.readouterr().err


def test_a_line_that_a_kill_cut_is_asked_again():
    _killed(9)
    file = state_folder() / "scorings/one/answers.jsonl"
    file.write_bytes(file.read_bytes()[:-4])
    second = Work()
    assert _all(second) == WHOLE
    assert second.asked == [[6, 7, 8], [9]]


def test_what_fails_after_the_scoring_does_not_cost_it():
    with pytest.raises(UserError), lots.kept("one") as answers:
        list(answers.of(range(10), Work(), "adding"))
        raise UserError("the disk is full")
    again = Work()
    assert _all(again) == WHOLE
    assert again.asked == []


def test_other_questions_have_other_answers():
    _killed(7)
    other = Work()
    assert _all(other, "two") == WHOLE
    assert len(other.asked) == 4


def test_one_run_at_a_time_asks():
    with lots.kept("one"), pytest.raises(UserError, match="already"), lots.kept("one"):
        pass


def test_without_a_place_to_keep_them_answers_are_given(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text(json.dumps([]))
    monkeypatch.setenv("HYPEROBJECT_STATE", str(tmp_path / "file"))
    assert _all(Work()) == WHOLE
    assert "begins anew" in capsys.readouterr().err
