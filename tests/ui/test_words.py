"""What the page says: the same in every language, each sentence with the same blanks."""

from __future__ import annotations

import string

import pytest

from medmm.prediction import DISCLAIMER
from medmm.ui.words import TAGS, WORDS, language_of, say


def blanks(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_every_language_says_everything_with_the_same_blanks() -> None:
    assert set(WORDS) == set(TAGS)
    for words in WORDS.values():
        assert {key: blanks(sentence) for key, sentence in words.items()} == {
            key: blanks(sentence) for key, sentence in WORDS["en"].items()
        }
        assert all(sentence.strip() for sentence in words.values())


def test_chinese_sentences_are_chinese() -> None:
    assert [key for key, sentence in WORDS["zh"].items() if not any("\u4e00" <= c <= "\u9fff" for c in sentence)] == []


def test_the_disclaimer_is_the_one_of_every_other_output() -> None:
    assert say("en", "research_only") == DISCLAIMER
    for language in WORDS:
        assert say(language, "banner").startswith(say(language, "research_only"))


@pytest.mark.parametrize(
    ("asked", "accepted", "spoken"),
    [
        (None, None, "en"),
        (None, "", "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "de-DE,de;q=0.9,zh;q=0.5,en;q=0.4", "zh"),
        (None, "de, en;q=0.3, zh;q=0", "en"),
        (None, "en-GB,zh;q=0.9", "en"),
        (None, "zh;q=nonsense, en", "en"),
        (None, "fr", "en"),
        ("zh", "en", "zh"),
        ("en", "zh-CN", "en"),
        ("zh-CN", None, "zh"),
        ("tlh", "zh", "zh"),
        ("<script>", None, "en"),
    ],
)
def test_the_language_is_the_chosen_one_else_the_best_liked(asked: str | None, accepted: str | None, spoken: str) -> None:
    assert language_of(asked, accepted) == spoken
