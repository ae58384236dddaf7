"""The page of a report: one HTML file with its style sheet, its script and its figures inside.

The content security policy of the page allows inline pictures and styles and this one script, by its digest, and
nothing from anywhere else: a browser would refuse to load what a folder managed to slip in.
"""

import base64
import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence

from podarcade.reporting.report import Figure, Section, drawing
from podarcade.reporting.report.looks import Looks
from podarcade.reporting.report.markup import Markup, element, escape, join, paragraph

STYLE = pathlib.Path(__file__).with_name("page.css")
SCRIPT = pathlib.Path(__file__).with_name("page.js")


@dataclasses.dataclass(frozen=True)
class Heading:
    """The head of a report.

    Attributes:
      title: of the page.
      subject: what was compared, in one line.
      made: when, with which version, and by which command.
    """

    title: str
    subject: str
    made: str


def page(heading: Heading, sections: Sequence[Section], looks: Looks) -> str:
    """Return the page."""
    script = SCRIPT.read_text(encoding="utf-8")
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        element(
            "header",
            element("h1", heading.title),
            paragraph(heading.subject, kind="subject"),
            paragraph(heading.made, kind="note"),
            _contents(sections),
        ),
        _filter(looks),
        element("main", *map(_section, sections), id="content"),
        element("footer", paragraph("Every number of this page is in the JSON file of the same name beside it.")),
        element("script", Markup(script)),
    )
    return join(Markup("<!DOCTYPE html>\n"), element("html", _head(heading, script), body, lang="en"))


def _head(heading: Heading, script: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content="podarcade"),
        element("title", f"{heading.title}: {heading.subject}"),
        element("style", Markup(STYLE.read_text(encoding="utf-8"))),
    )


def _contents(sections: Sequence[Section]) -> Markup:
    links = (element("li", element("a", section.title, href=f"#{section.name}")) for section in sections)
    return element("nav", element("ul", *links), aria_label="Contents")


def _filter(looks: Looks) -> Markup | None:
    """Return boxes that show and hide what is drawn and listed of each label; the script unhides them."""
    if len(looks) < 2:
        return None
    boxes = (
        element(
            "label",
            element("input", type="checkbox", checked=True, data_shows=look.index),
            element("span", class_="swatch", style=f"background:{_themed(look.colour)}"),
            label,
        )
        for label, look in looks.items()
    )
    return element("form", element("fieldset", element("legend", "Show"), *boxes), class_="filter", hidden=True)


def _themed(colour: str) -> str:
    name = drawing.THEMED.get(colour)
    return f"var(--{name},{colour})" if name else colour


def _section(section: Section) -> Markup:
    parts = (drawing.shown(part) if isinstance(part, Figure) else part for part in section.parts)
    return element("section", element("h2", section.title), *parts, id=section.name, aria_label=escape(section.title))
