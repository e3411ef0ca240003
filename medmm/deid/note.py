"""Identifiers in clinical text, found by rules and replaced by their kind; measurements stay.

The kinds follow the Safe Harbor list of 45 CFR 164.514(b)(2). Rules find what is written in an
expected way: names behind a title or a label, numbers behind a label, dates in digits and words,
and, word for word, whatever the image's own header says of the patient. A bare name in running text
is not found, so a scrubbed note is cleaner, never proven clean.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from medmm.deid.rules import NOT_A_NAME, RULES

_OLDEST = "90"  # Safe Harbor: ages above 89 become one class
_SHORTEST_ID = 4  # a shorter number of the header could be a measurement of the note


class Span(NamedTuple):
    """Where something identifying stands in a text."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class ScrubbedNote:
    """A note without what was found.

    Attributes:
        text: With `[NAME]`, `[DATE]` and so on in its places; ages above 90 read 90.
        replaced: How many of each kind.
    """

    text: str
    replaced: dict[str, int] = field(default_factory=dict)


def scrub_note(text: str, known: Iterable[str] = ()) -> ScrubbedNote:
    """Replace what identifies people in a note.

    Args:
        text: Clinical text.
        known: Names and numbers that identify this patient, e.g. `findings.known_identifiers` of the image's header.

    Example:
        >>> scrub_note("Dr. Brown saw 2.2 x 1.4 cm on 3 May 2018.").text
        'Dr. [NAME] saw 2.2 x 1.4 cm on [DATE].'
    """
    pieces, last = [], 0
    spans = find_identifiers(text, known)
    for span in spans:
        pieces += [text[last : span.start], _OLDEST if span.kind == "age" else f"[{span.kind.upper()}]"]
        last = span.end
    return ScrubbedNote("".join([*pieces, text[last:]]), dict(sorted(Counter(s.kind for s in spans).items())))


def find_identifiers(text: str, known: Iterable[str] = ()) -> list[Span]:
    """What a note holds that identifies people, in order and without overlaps.

    Args:
        text: Clinical text.
        known: As for `scrub_note`.
    """
    merged: list[Span] = []
    for span in sorted([*_of_header(text, known), *_of_rules(text)], key=lambda s: (s.start, -s.end)):
        if merged and span.start < merged[-1].end:
            merged[-1] = merged[-1]._replace(end=max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _of_rules(text: str) -> Iterator[Span]:
    for rule in RULES:
        position = 0
        while match := rule.pattern.search(text, position):
            start, end = match.span("x" if "x" in rule.pattern.groupindex else 0)
            if rule.words:
                end = start + _name_length(text[start:end], rule.words)
            if end > start:
                yield Span(start, end, rule.kind)
            position = max(end, match.start() + 1)  # what was cut off a name may begin the next


def _name_length(candidate: str, at_least: int) -> int:
    """Characters of a candidate that are a name: up to the first word that cannot be one; 0 if too few."""
    words, end = 0, 0
    for word in re.finditer(r"[^\s,]+", candidate):
        if word[0].title() in NOT_A_NAME:
            break
        words, end = words + 1, word.end()
    return end if words >= at_least else 0


def _of_header(text: str, known: Iterable[str]) -> Iterator[Span]:
    for identifier in known:
        if any(c.isdigit() for c in identifier):
            if len(identifier) >= _SHORTEST_ID:
                yield from _exactly(text, re.escape(identifier), "id")
            continue
        for word in re.findall(r"\w[\w'\u2019-]+", identifier):
            if word.title() not in NOT_A_NAME:  # a phantom called HEAD, or CT
                yield from _exactly(text, f"(?:{re.escape(word.upper())}|{re.escape(word.title())}|{re.escape(word)})", "name")


def _exactly(text: str, pattern: str, kind: str) -> Iterator[Span]:
    for match in re.finditer(rf"(?<!\w){pattern}(?!\w)", text):
        yield Span(*match.span(), kind)
