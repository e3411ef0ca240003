from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from medmm.sources.phantom.history import COURSES, write_history

NOTES = 300


def histories(course: int) -> list[str]:
    return [write_history(np.random.default_rng([8, i]), course=course) for i in range(NOTES)]


def findings(note: str) -> dict[int, int]:
    """What a reader takes from a history: which of duration, CRP, pain and growth are stated, and whether suspicious."""
    found = {}
    if stated := re.search(r"(?:Present for|First noticed|been there for|Onset) ([\d.]+) (days|months|years)", note):
        found[0] = int(float(stated[1]) * {"days": 1, "months": 30, "years": 365}[stated[2]] < 90)
    if crp := re.search(r"(?:CRP|C-reactive protein)\D*?([\d.]+\d)", note):
        found[1] = int(float(crp[1]) > 10)
    for number, word in ((2, r"[^.]*\bpain(?:ful)?\b[^.]*\."), (3, r"[^.]*\bgrow(?:th|n)\b[^.]*\.")):
        if sentence := re.search(word, note, re.IGNORECASE):
            found[number] = int(not re.search(r"\b(no|not|denies|without)\b", sentence[0], re.IGNORECASE))
    return found


@pytest.mark.parametrize("course", range(len(COURSES)))
def test_three_findings_are_stated_and_no_other_course_has_them(course: int) -> None:
    for note in histories(course):
        stated = findings(note)
        assert len(stated) == 3, note
        fitting = [c for c, code in enumerate(COURSES) if all(code[k] == v for k, v in stated.items())]
        assert fitting == [course], note


def test_each_finding_is_left_out_as_often_as_any_other_whatever_the_course() -> None:
    for course in range(len(COURSES)):
        missing = Counter(k for note in histories(course) for k in set(range(4)) - set(findings(note)))
        assert all(0.15 * NOTES < missing[k] < 0.35 * NOTES for k in range(4))


def test_no_finding_alone_tells_a_course() -> None:
    for k in range(4):
        assert all(sum(code[k] == value for code in COURSES) >= 2 for value in (0, 1))


def test_the_words_around_are_the_same_for_every_course() -> None:
    """Same seed, other course: only the sentences of its findings differ."""
    for seed in range(40):
        drawn = [write_history(np.random.default_rng([3, seed]), course=c) for c in range(len(COURSES))]
        kept = [
            re.findall(r"fever|itching|allerg|penicillin|smok|diabetes|haemoglobin|pressure|man|woman|age", n.lower())
            for n in drawn
        ]
        assert all(sorted(k) == sorted(kept[0]) for k in kept)


def test_histories_vary_and_are_the_same_for_the_same_seed() -> None:
    assert len(set(histories(1))) > 0.98 * NOTES
    assert histories(1)[:5] == histories(1)[:5]
    units = Counter(unit for c in (0, 2, 3) for n in histories(c) for unit in re.findall(r"[\d.]+ (months|years)\b(?! old)", n))
    assert min(units["months"], units["years"]) > 50
