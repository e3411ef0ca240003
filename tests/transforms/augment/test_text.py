"""Notes: numbers and meanings stay, words vary by as much as was asked."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from medmm.study import Note
from medmm.transforms.augment.choice import SYNONYMS, TextChanges
from medmm.transforms.augment.text import change_note, exchange_synonyms, hide_tokens

NOTE = Note(
    "INDICATION: 61-year-old with shortness of breath, T2N0 cancer of 2.4 cm.\n"
    "TECHNIQUE: Contrast.\nFINDINGS: Kidney 12x30 mm, HER2."
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("changes", [TextChanges(typos=1), TextChanges(synonyms=1), TextChanges(typos=0.5, synonyms=0.5)])
def test_numbers_and_codes_are_never_changed(changes: TextChanges) -> None:
    for seed in range(20):
        found = change_note(NOTE, changes, rng(seed)).text
        assert found != NOTE.text
        assert re.findall(r"[A-Z]*\d[\w.]*", found) == re.findall(r"[A-Z]*\d[\w.]*", NOTE.text)


def test_nothing_is_changed_when_nothing_was_asked() -> None:
    assert change_note(NOTE, TextChanges(), rng()).text == NOTE.text


def test_a_typing_error_keeps_the_letters_and_the_ends_of_a_word() -> None:
    for before, after in zip(NOTE.text.split(), change_note(NOTE, TextChanges(typos=1), rng()).text.split(), strict=True):
        assert sorted(before) == sorted(after)
        assert before[0] == after[0]


def test_as_many_words_are_mistyped_as_was_asked() -> None:
    note = Note("staging lung " * 500)
    found = change_note(note, TextChanges(typos=0.3), rng()).text.split()
    share = np.mean([a != b for a, b in zip(note.text.split(), found, strict=True)])
    assert 0.25 < share < 0.35


def test_synonyms_are_of_the_same_group_and_keep_capitals() -> None:
    groups = (("shortness of breath", "dyspnea"), ("cancer", "malignancy"))
    assert exchange_synonyms("Dyspnea. SHORTNESS OF BREATH, Cancer; cancerous", groups, 1.0, rng()) == (
        "Shortness of breath. DYSPNEA, Malignancy; cancerous"
    )
    assert exchange_synonyms("cancer", (), 1.0, rng()) == "cancer"
    assert exchange_synonyms("cancer", (("cancer",),), 1.0, rng()) == "cancer"


def test_no_word_stands_in_two_groups_and_none_carries_a_number_or_a_negation() -> None:
    words = [word for group in SYNONYMS for word in group]
    assert len(words) == len(set(words))
    assert not any(re.search(r"\d|\b(no|not|without|denies)\b", word) for word in words)


def test_whole_sections_are_left_out_and_one_always_stays() -> None:
    whole = {str(s) for s in NOTE.sections}
    sizes = set()
    for seed in range(30):
        kept = [str(s) for s in change_note(NOTE, TextChanges(sections=0.7), rng(seed)).sections]
        assert set(kept) <= whole
        sizes.add(len(kept))
    assert sizes == {1, 2, 3}


def test_hidden_tokens_carry_no_number_and_the_marks_stay() -> None:
    tokens = torch.arange(2, 402), torch.ones(400), torch.ones(400, dtype=torch.bool)
    ids, values, is_number = hide_tokens(tokens, 1, 0.25, rng())
    hidden = ids == 1
    assert 0.18 < float(hidden.float().mean()) < 0.32
    assert not hidden[0] | hidden[-1]
    assert torch.equal(hidden, values == 0)
    assert torch.equal(hidden, ~is_number)
    assert torch.equal(ids[~hidden], tokens[0][~hidden])
