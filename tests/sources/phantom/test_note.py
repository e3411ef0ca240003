from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from medmm.sources.phantom.note import write_note

NOTES = 400


def notes(finding: bool) -> list[str]:
    return [write_note(np.random.default_rng([9, i]), finding=finding) for i in range(NOTES)]


def statements(note: str) -> dict[str, bool]:
    """What a reader takes from a note: each statement made, and whether it is suspicious."""
    found = {}
    if marker := re.search(r"(?:CEA|[Cc]arcinoembryonic antigen)\D*?([\d.]+\d)", note):
        found["marker"] = float(marker[1]) > 5
    if size := re.search(r"([\d.]+) (cm|mm)\b", note):
        found["size"] = float(size[1]) * (10 if size[2] == "cm" else 1) > 40
    if loss := re.search(r"[^.]*weight loss[^.]*\.", note, re.IGNORECASE):
        found["loss"] = not re.search(r"\b(no|denies|without|negative)\b", loss[0], re.IGNORECASE)
    return found


@pytest.mark.parametrize("finding", [True, False])
def test_every_statement_agrees_with_the_finding_and_at_least_two_are_made(finding: bool) -> None:
    for note in notes(finding):
        read = statements(note)
        assert len(read) >= 2, note
        assert set(read.values()) == {finding}, note


def test_each_way_to_say_it_is_missing_from_some_notes() -> None:
    ways = Counter(way for note in notes(True) for way in statements(note))
    assert all(0.5 * NOTES < ways[way] < 0.95 * NOTES for way in ("marker", "size", "loss"))


def test_sizes_come_in_both_units() -> None:
    units = Counter(unit for note in notes(True) for unit in re.findall(r"[\d.]+ (cm|mm)\b", note))
    assert min(units["cm"], units["mm"]) > 0.2 * NOTES


def test_the_words_around_are_the_same_with_and_without_the_finding() -> None:
    """Every word but the negation of weight loss and its opposite is as frequent on both sides."""
    telling = {"no", "denies", "without", "any", "negative", "reports", "marked", "over", "recent", "months", "is", "present",
               "positive", "weight", "loss", "for"}  # fmt: skip
    counts = [Counter(w for n in notes(f) for w in set(re.findall(r"[a-z]+", n.lower()))) for f in (False, True)]
    apart = {w: (counts[0][w], counts[1][w]) for w in {*counts[0], *counts[1]} - telling if abs(counts[0][w] - counts[1][w]) > 80}
    assert not apart


def test_notes_vary_and_are_the_same_for_the_same_seed() -> None:
    assert len(set(notes(True))) == NOTES
    assert notes(True)[:5] == notes(True)[:5]
    assert any(note.startswith(("Patient:", "Man", "Woman")) for note in notes(False))
