"""One self-contained HTML file of sections, tables, charts and packed data."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from hsengine.base.files import replacing

__loads__ = (
    "hsengine/report/templates/page.html",
    "hsengine/report/assets/page.css",
    "hsengine/report/assets/page.js",
)


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        columns: the heads.
        rows: a cell a column; numbers are aligned by the page.
        source: what the numbers were computed from.
        title: a line above; "" for none.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    source: str = ""
    title: str = ""
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Chart:
    """A figure of Plotly as plain values, `data` and `layout`; the page adds the colours of its theme."""

    figure: Mapping[str, Any]
    source: str = ""
    title: str = ""
    kind: str = field(default="chart", init=False)


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    text: str
    kind: str = field(default="note", init=False)


@dataclass(frozen=True)
class Part:
    """HTML of a template that has escaped what it was given."""

    html: Markup
    kind: str = field(default="part", init=False)


Block = Table | Chart | Note | Part


@dataclass(frozen=True)
class Section:
    """What stands under one heading."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """Its name within the page."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: of the file and above all.
        lead: sentences under the title.
        sections: in their order.
        styles: further CSS.
        scripts: further JavaScript, run in this order before `data` is there: it can draw first, and decode later.
        data: by the id of the element that holds it, what `packed` made; at the end of the file.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    styles: Sequence[str] = ()
    scripts: Sequence[str] = ()
    data: Mapping[str, str] = field(default_factory=dict)


def packed(content: bytes) -> str:
    """Bytes for `Page.data`: deflated, in base64."""
    return base64.b64encode(zlib.compress(content, 6)).decode("ascii")


def embedded(value: object) -> Markup:
    """A value as JSON that can stand in a script element."""
    return Markup(json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"))


def asset(package: str, *names: str) -> str:
    """The text of a file of a package."""
    return files(package).joinpath(*names).read_text(encoding="utf-8")


def filled(package: str, name: str, **values: Any) -> Markup:
    """A template of a package's folder `templates`, filled in; values are escaped."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["embedded"] = embedded
    return Markup(environment.from_string(asset(package, "templates", name)).render(**values))


def write(page: Page, path: str | os.PathLike[str]) -> None:
    """Write a page, whole or not at all.

    Raises:
        UserError: the place cannot be written.
    """
    from plotly.offline import get_plotlyjs

    package = "hsengine.report"
    text = filled(
        package,
        "page.html",
        page=page,
        styles=[Markup(style) for style in (asset(package, "assets", "page.css"), *page.styles)],
        scripts=[Markup(script) for script in (asset(package, "assets", "page.js"), *page.scripts)],
        # What is looked at first stands first: the page decodes it while the rest is read.
        data={**page.data, "plotly": packed(get_plotlyjs().encode("utf-8"))},
    )
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")
