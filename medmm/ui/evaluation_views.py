"""What was measured, alone and side by side, as HTML text; every value that came from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from medmm.errors import MedmmError
from medmm.report.verdict import Sentence, verdict, verdict_on_runs
from medmm.report.words import PAIRED, headline_metrics, number, paired_cells
from medmm.results import Arm, Results
from medmm.ui.measured import Measured, pair
from medmm.ui.reliability import diagram
from medmm.ui.views import banner, failure, table
from medmm.ui.words import Language, say

_TONES = {"good": "yes", "bad": "no", "open": "not shown", "beware": "beware"}
_DIAGRAMS = 18


def details(results: Results, language: Language) -> str:
    """Who was measured, what the numbers say, every set of inputs and baseline with its intervals, and reliability."""
    full = results.arms[0]
    who = say(language, "evaluation_who", n=full.n, patients=full.patients, split=escape(results.split or "-"))
    parts = [
        f'<h2 class="mm-heading"><span lang="en">{escape(results.question or results.task)}</span></h2>',
        f'<p class="mm-muted">{who}</p>',
        _said(verdict(results), language),
        arms_table(results.arms, say(language, "evaluation_metrics"), language),
        _reliability([(full, "")], language),
        banner(say(language, "research_only")),
    ]
    return "".join(parts)


def empty(language: Language) -> str:
    """That there is nothing to show, and how there can be."""
    return f'<p class="mm-about">{say(language, "evaluation_none")}</p>'


def compared(first: Measured, second: Measured, names: tuple[str, str], language: Language) -> str:
    """Two results side by side, and what can be said of their difference.

    Args:
        first: What to compare.
        second: With what.
        names: Of them.
        language: Of the page.
    """
    if first.results.labels != second.results.labels:
        return f'<p class="mm-about">{say(language, "compare_other_question")}</p>'
    arms = [side.results.arms[0].model_copy(update={"name": name}) for side, name in zip((first, second), names, strict=True)]
    shown = arms_table(arms, say(language, "compare_title"), language)
    return _paired(first, second, language) + shown + _reliability([(arm, arm.name) for arm in arms], language)


def _paired(first: Measured, second: Measured, language: Language) -> str:
    try:
        found = pair(first, second)
    except MedmmError as error:
        return failure(error.code, error.message, language)
    if found is None:
        return f'<p class="mm-about">{say(language, "compare_numbers_only")}</p>'
    who = say(language, "compare_who", n=found.n, patients=found.patients, left_out=found.left_out)
    rows = ([escape(cell) for cell in paired_cells(c)] for c in found.comparisons)
    differences = table(say(language, "compare_paired"), PAIRED, rows)
    return f'<p class="mm-muted">{who}</p>{_said(verdict_on_runs(found), language)}{differences}'


def arms_table(arms: Sequence[Arm], caption: str, language: Language) -> str:
    """One row each, in the metrics that all of them have."""
    names = [name for name in headline_metrics(arms[0]) if all(name in arm.metrics for arm in arms)]
    columns = [say(language, "column_inputs"), say(language, "column_samples"), *names]
    return table(caption, columns, ([escape(a.name), str(a.n), *(number(a.metrics[n]) for n in names)] for a in arms))


def _said(found: Iterable[Sentence], language: Language) -> str:
    items = "".join(f'<li class="mm-{s.tone}"><b>{_TONES[s.tone]}</b> {escape(s.text)}</li>' for s in found)
    return f'<h3 class="mm-heading">{say(language, "evaluation_says")}</h3><ul class="mm-verdict" lang="en">{items}</ul>'


def _reliability(arms: Sequence[tuple[Arm, str]], language: Language) -> str:
    """Diagrams of each label; beside each other where there are two arms, under their names."""
    drawn = [
        diagram(judged, f"{label}, {name}" if name else label, language)
        for label in list(arms[0][0].calibration)[:_DIAGRAMS]
        for arm, name in arms
        if (judged := arm.calibration.get(label)) is not None
    ]
    shown = "".join(drawn)
    if not shown:
        return f'<p class="mm-muted">{say(language, "evaluation_no_bins")}</p>'
    return f'<h3 class="mm-heading">{say(language, "evaluation_reliability")}</h3><div class="mm-figures">{shown}</div>'
