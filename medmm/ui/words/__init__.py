"""Every sentence of the page in the languages it speaks, and which of them a visitor reads.

A sentence has one key; `{names}` in it are filled in by `say`. What a model or a reader says (messages of
errors and notices, names of classes) stays as it was said, in English, with its code beside it.
"""

from __future__ import annotations

from typing import Literal

from medmm.ui.words.chinese import CHINESE
from medmm.ui.words.english import ENGLISH

Language = Literal["en", "zh"]

WORDS: dict[Language, dict[str, str]] = {"en": ENGLISH, "zh": CHINESE}
TAGS: dict[Language, str] = {"en": "en", "zh": "zh-CN"}
"""What a browser calls them."""
_VIEWER = "viewer_"


def say(language: Language, key: str, **values: object) -> str:
    """One sentence; its values are filled in as they are, so escape what came from outside."""
    return WORDS[language][key].format(**values)


def known(language: Language, key: str, otherwise: str = "") -> str:
    """The sentence of a key that may have none, such as a code's; then `otherwise`."""
    return WORDS[language].get(key, otherwise)


def viewer_words() -> dict[Language, dict[str, str]]:
    """What the viewer says, in all languages: it knows in which the page is shown."""
    shared = ("research_only",)
    return {
        lang: {k.removeprefix(_VIEWER): v for k, v in words.items() if k.startswith(_VIEWER) or k in shared}
        for lang, words in WORDS.items()
    }


def language_of(asked: str | None, accepted: str | None) -> Language:
    """The language to speak.

    Args:
        asked: What the visitor chose, e.g. `zh`; wins when it is one of ours.
        accepted: The browser's Accept-Language header: the best liked one of ours, English when it has none.
    """
    chosen = _ours(asked or "")
    if chosen:
        return chosen
    liked = sorted(map(_weighted, (accepted or "").split(",")), key=lambda pair: -pair[1])
    return next((found for tag, weight in liked if weight > 0 and (found := _ours(tag))), "en")


def _ours(tag: str) -> Language | None:
    primary = tag.strip().lower().partition("-")[0]
    return next((language for language in WORDS if language == primary), None)


def _weighted(part: str) -> tuple[str, float]:
    """Tag and weight of one part of an Accept-Language header, e.g. `zh;q=0.8`."""
    tag, _, weight = part.partition(";q=")
    try:
        return tag, float(weight or 1)
    except ValueError:
        return tag, 0.0
