"""Pieces of the page as HTML text; every value that came from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from medmm.ui.words import Language, known, say


def banner(sentence: str) -> str:
    """The line that is always there."""
    return f'<p class="mm-banner" role="note">{sentence}</p>'


def failure(code: str, message: str, language: Language = "en") -> str:
    """An error: its code for machines, what to do in the page's language, and its own sentence."""
    hint = known(language, code)
    return f'<div class="mm-error" role="alert"><b>{escape(code)}</b> {hint} <span lang="en">{escape(message)}</span></div>'


def working(sentence: str, aside: str = "") -> str:
    """What is being done just now; screen readers are told the sentence, not what changes every second beside it."""
    spinner, said = '<span class="mm-spinner" aria-hidden="true"></span>', f'<span role="status">{escape(sentence)}</span>'
    return f'<p class="mm-working">{spinner}{said} <span aria-hidden="true">{escape(aside)}</span></p>'


def warning_list(warnings: list[dict[str, str]]) -> str:
    """What to know of a study or an answer."""
    items = "".join(f"<li><b>{escape(w['code'])}</b> {escape(w['message'])}</li>" for w in warnings)
    return f'<ul class="mm-warnings" lang="en">{items}</ul>' if items else ""


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls by itself; everything in it is HTML already, and the first cell of each row names it."""
    heads = "".join(f'<th scope="col">{name}</th>' for name in columns)
    lines = (f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows)
    inner = f"<caption>{caption}</caption><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="mm-scroll" tabindex="0" role="region" aria-label="{caption}"><table class="mm-found">{inner}</table></div>'


def readable(label: str) -> str:
    """A class name for people."""
    return escape(label.replace("_", " "))


def model_facts(model: dict[str, Any], language: Language = "en") -> str:
    """What the model is and how good it was measured to be, in one paragraph."""
    name = f"{say(language, 'model')} <b>{escape(model['name'])}</b>"
    results = model["results"]
    if results is None:
        return f'<p class="mm-about">{name}: {say(language, "model_unmeasured")}</p>'
    full = results["arms"][0]
    ranking = full["metrics"].get("auroc") or full["metrics"].get("auroc_macro")
    measured = say(
        language, "model_measured", n=full["n"], patients=full["patients"], auroc=_interval(ranking, language),
        f1=_interval(full["metrics"]["f1_macro"], language),
    )  # fmt: skip
    question = escape(results["question"] or results["task"])
    return f'<p class="mm-about">{name}: {question} {measured}{_modesty(ranking, language)}</p>'


def _modesty(ranking: dict[str, Any], language: Language) -> str:
    if ranking["low"] is None or ranking["low"] <= 0.5:
        return f" <b>{say(language, 'not_better')}</b>"
    return ""


def _interval(value: dict[str, Any] | None, language: Language) -> str:
    if value is None or value["value"] is None:
        return say(language, "undefined")
    if value["low"] is None:
        return f"{value['value']:.2f}"
    return f"{value['value']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"
