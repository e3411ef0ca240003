"""What tests of the page share: a browser's reading of HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest


@dataclass
class Outline:
    """What a browser would make of a piece of HTML.

    Attributes:
        tags: How often each element, with the names of its attributes, occurs.
        text: All text, as shown.
    """

    tags: Counter[tuple[str, ...]] = field(default_factory=Counter)
    text: str = ""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.outline = Outline()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.outline.tags[(tag, *(name for name, _ in attrs))] += 1

    def handle_data(self, data: str) -> None:
        self.outline.text += data + " "


@pytest.fixture(scope="session")
def outline() -> Callable[[str], Outline]:
    """Read HTML as a browser does."""

    def read(html: str) -> Outline:
        reader = _Reader()
        reader.feed(html)
        reader.close()
        reader.outline.text = " ".join(reader.outline.text.split())
        return reader.outline

    return read
