"""A clinical note's sections, found by the headings radiologists use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

SectionName = Literal["", "indication", "technique", "comparison", "findings", "impression"]

BEFORE_READING: tuple[SectionName, ...] = ("indication",)
"""Sections written before anybody saw the images."""

_EXAM = "(?:exam|examination|study|scan|procedure)"
_HEADINGS: dict[SectionName, str] = {
    "indication": (
        "indications?|(?:clinical|patient|medical|relevant|presenting|brief|past medical) history|history|"
        "clinical (?:indications?|information|info|details|data|statement|question|presentation|notes?|context)|"
        f"(?:reason|indication) for (?:the |this )?(?:{_EXAM}|referral|request)|history of present(?:ing)? (?:illness|complaint)|"
        "(?:presenting|chief) complaint|referral"
    ),
    "technique": (
        f"techniques?|(?:imaging |scan(?:ning)? |ct )?(?:technique|protocol|procedure|methods?)|{_EXAM}|"
        f"(?:type|name) of {_EXAM}|{_EXAM} (?:type|description)|contrast(?: agent| medium)?"
    ),
    "comparison": (
        f"comparisons?|(?:compared|comparison) (?:to|with)|(?:prior|previous) (?:{_EXAM}|exams|examinations|studies|imaging)"
    ),
    "findings": (
        "(?:imaging |ct |radiological |radiographic )?findings(?: (?:and|&|/) impressions?)?|findings/impressions?|"
        "(?:radiology |ct )?report|description|observations?|results?"
    ),
    "impression": (
        "(?:final |overall |radiological )?impressions?|conclusions?|summary|opinion|interpretation|assessment|"
        "impressions? (?:and|&|/) recommendations?|(?:final |radiological )?diagnos[ie]s"
    ),
}
_PATTERNS = {name: re.compile(words, re.IGNORECASE) for name, words in _HEADINGS.items()}
_CANDIDATE = re.compile(
    r"^[ \t*#_]*(?P<line>[A-Za-z][A-Za-z&/ ]{2,40}?)[ \t*_]*(?::[*_]*|[-\u2013](?=[ \t])|$)"  # at the start of a line
    r"|(?<=[.;)\s])(?P<capitals>[A-Z][A-Z&/ ]{2,40}):",  # or anywhere, in capitals
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Section:
    """One section.

    Attributes:
        name: Standard name; empty for what stands before the first heading.
        text: Its text without the heading.
    """

    name: SectionName
    text: str

    def __str__(self) -> str:
        """Under its standard heading, so that dividing it again finds the same section."""
        return f"{self.name.upper()}: {self.text}" if self.name else self.text


def split_sections(text: str) -> tuple[Section, ...]:
    """Divide a note at its headings.

    A heading stands at the start of a line, before a colon, a dash or nothing more, or anywhere in capitals
    before a colon. Common variants map to one name, e.g. CLINICAL HISTORY and Reason for exam to
    `indication`, CONCLUSION to `impression`.

    Returns:
        Sections in order, without empty ones; a note without headings is one section without a name.
    """
    headings = [(m.start(), m.end(), name) for m in _CANDIDATE.finditer(text) if (name := _name(m["line"] or m["capitals"]))]
    marks: list[tuple[int, int, SectionName]] = [(0, 0, ""), *headings, (len(text), len(text), "")]
    parts = (Section(name, text[begin:end].strip()) for (_, begin, name), (end, _, _) in pairwise(marks))
    return tuple(part for part in parts if part.text)


def keep_sections(text: str, kept: Sequence[SectionName] | None) -> str:
    """The sections of a note that may be read, each under its standard heading; all of it as it is when `kept` is None."""
    if kept is None:
        return text
    return "\n".join(str(section) for section in split_sections(text) if section.name in kept)


def _name(heading: str) -> SectionName | None:
    words = " ".join(heading.split())
    return next((name for name, pattern in _PATTERNS.items() if pattern.fullmatch(words)), None)
