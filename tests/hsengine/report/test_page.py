import base64
import json
import zlib

import pytest

from hsengine.base.errors import UserError
from hsengine.report.page import Chart, Note, Page, Section, Table, embedded, packed, write


def page_of(*blocks):
    return Page("A result", "What it is.", [Section("Numbers & more", blocks)])


def test_what_is_packed_is_had_back():
    content = bytes(range(256)) * 9
    assert zlib.decompress(base64.b64decode(packed(content))) == content


def test_values_in_scripts_cannot_end_them():
    value = {"name": "</script><b>"}
    assert "<" not in embedded(value)
    assert json.loads(embedded(value)) == value


def test_texts_are_shown_not_run(tmp_path):
    write(page_of(Note("<img src=x onerror=alert(1)>"), Table(["<i>"], [["a & b"]])), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "&lt;img src=x" in text
    assert '<th scope="col">&lt;i&gt;</th>' in text
    assert "a &amp; b" in text


def test_the_same_page_gives_the_same_bytes(tmp_path):
    for name in ("one.html", "two.html"):
        write(page_of(Note("text")), tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        write(page_of(), tmp_path / "file" / "page.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_a_page_opens_without_network_in_both_schemes_on_any_screen(tmp_path, opened, scheme, width):
    chart = Chart({"data": [{"x": [1, 2], "y": [3, 4], "name": "a"}], "layout": {}}, "from nothing", "line")
    wide = Table([f"column {number}" for number in range(30)], [["1.5"] * 30], "made up")
    write(page_of(chart, wide), tmp_path / "page.html")
    page = opened(tmp_path / "page.html", width=width, color_scheme=scheme)
    page.wait_for_selector(".chart .main-svg")
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").press("Enter")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_charts_wait_for_what_is_looked_at_first(tmp_path, opened):
    chart = Chart({"data": [{"x": [1, 2], "y": [3, 4]}], "layout": {}})
    script = (
        "Report.first(Report.inflate('numbers').then((bytes) => new Promise((resolve) => {"
        " document.body.dataset.sum = bytes.reduce((sum, byte) => sum + byte, 0); window.finish = resolve; })));"
    )
    page_ = Page(
        "A result", "", [Section("Charts", [chart])], scripts=[script], data={"numbers": packed(bytes([3, 4]))}
    )
    write(page_, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.index('id="numbers"') < text.index('id="plotly"')
    page = opened(tmp_path / "page.html")
    page.wait_for_selector("body[data-sum='7']")
    assert page.evaluate("typeof Plotly") == "undefined"
    page.evaluate("window.finish()")
    page.wait_for_selector(".chart .main-svg")


def test_data_that_the_page_does_not_have_is_named(tmp_path, opened):
    script = "Report.inflate('absent').catch((error) => { document.body.dataset.said = error.message; });"
    write(Page("A result", "", [], scripts=[script]), tmp_path / "page.html")
    page = opened(tmp_path / "page.html")
    page.wait_for_selector("body[data-said]")
    assert "absent" in page.evaluate("document.body.dataset.said")
