from hsengine.base.wording import close_matches, listed, meant, some


def test_the_closest_name_is_asked_for_and_nothing_where_none_is_close():
    assert meant("mstp", ["raw2hsi", "mstpp"]) == "did you mean 'mstpp'?"
    assert meant("zzz", ["raw2hsi", "mstpp"]) == ""
    assert meant(3, ["30"]) == "did you mean '30'?"


def test_close_names_are_a_hint_in_brackets():
    assert close_matches("sample_1", ["sample_2", "other"]) == " (close: sample_2)"
    assert close_matches("sample_1", ["other"]) == ""


def test_close_names_are_found_among_many():
    assert "sample_00777" in close_matches("sampel_00777", [f"sample_{number:05}" for number in range(5000)])


def test_long_lists_are_cut_short_with_their_count():
    assert some(["a", "b", "c"], shown=2) == "a, b and 1 more"
    assert listed(["a", "b", "c"], shown=2) == "  a\n  b\n  and 1 more"
