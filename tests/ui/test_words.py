"""What the page says: the same in every language, each sentence with the same blanks."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import medmm
from medmm import errors
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


PACKAGE = Path(medmm.__file__).parent


def sources(folder: Path, kind: str) -> str:
    return "\n".join(f.read_text(encoding="utf-8") for f in folder.rglob(kind) if "words" not in f.parts)


def said_by(code: str, quote: str = "\"'`") -> re.Pattern[str]:
    """Keys that stand in a program: in quotes, as `words.key` or `key:`, or put together as `column_{name}`."""
    plain = set(re.findall(rf"[{quote}](\w+)[{quote}]|words\.(\w+)|\b(\w+): \[", code))
    parts = set(re.findall(rf"[{quote}](\w*)\$?{{\w+}}(\w*)[{quote}]", code))
    patterns = [re.escape(name) for found in plain for name in found if name]
    return re.compile("|".join([*patterns, *(rf"{a}\w*{b}" for a, b in parts if a.endswith("_") or b.startswith("_"))]))


def test_every_sentence_is_said_somewhere() -> None:
    page, script = said_by(sources(PACKAGE, "*.py")), said_by(sources(PACKAGE / "ui" / "static" / "viewer", "*.js"))
    codes = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MedmmError)}
    assert [
        key
        for key in WORDS["en"]
        if not (script.fullmatch(key.removeprefix("viewer_")) if key.startswith("viewer_") else key in codes or page.fullmatch(key))
    ] == []
