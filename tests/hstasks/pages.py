"""What the tests of the challenges' pages do with a page."""


def slide(page, id, value):
    """Move a slider, or fill in a field."""
    page.evaluate(
        "([id, value]) => { const input = document.getElementById(id); input.value = value;"
        " input.dispatchEvent(new Event('input')); }",
        [id, value],
    )


def number(page, id):
    """The number that an element shows."""
    return float(page.locator(f"#{id}").text_content())


def fits(page, width):
    """Whether the page is no wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth") <= width
