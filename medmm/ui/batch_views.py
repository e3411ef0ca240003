"""A cohort and what came of it, as HTML text; every value that came from outside is escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

from medmm.settings import PAGE_LIMITS
from medmm.ui.batches import BATCH_ROUTE, FILES, Batch
from medmm.ui.views import banner, failure, readable, table, working
from medmm.ui.words import Language, known, say

_SHOWN = 50
_TEMPLATE = (
    "study_id,patient_id,image,note,label\n"
    'study-1,patient-1,study-1,"History: cough. Findings: none.",\n'
    "study-2,patient-2,study-2.zip,study-2.txt,\n"
)


def offer(most_zip_mb: int, language: Language) -> str:
    """What a cohort may be, and a table to start from.

    Args:
        most_zip_mb: Megabytes of one upload.
        language: Of the page.
    """
    table = base64.b64encode(_TEMPLATE.encode()).decode()
    link = f'<a class="mm-download" download="cohort.csv" href="data:text/csv;base64,{table}">{say(language, "batch_template")}</a>'
    limits = say(language, "batch_limits", rows=PAGE_LIMITS.cohort_rows, table=PAGE_LIMITS.cohort_bytes >> 20, zip=most_zip_mb)
    return f'<p class="mm-muted">{limits} {say(language, "batch_kept")}</p><p class="mm-downloads">{link}</p>'


def standing(batch: Batch | None, language: Language) -> str:
    """What a visit has of its cohort: nothing, a checked table, a stopped run, or its outcome."""
    if batch is None:
        return f'<p class="mm-muted">{say(language, "batch_none")}</p>'
    if batch.result is not None:
        return outcome(batch, batch.result, language)
    ready = say(language, "batch_ready", rows=batch.rows, labelled=batch.labelled)
    stopped = say(language, "batch_stopped", done=batch.done, total=batch.total) if batch.done else ""
    return f'<p role="status">{stopped or ready}</p>'


def progress(phase: str, place: int, language: Language) -> str:
    """Where a run stands."""
    if place:
        return working(say(language, "in_line", place=place))
    words = phase.split()
    if len(words) < 2:
        return working(say(language, "batch_scoring" if phase else "phase_"))
    done, total = map(int, words)
    bar = f'<progress max="{max(total, 1)}" value="{done}" aria-label="{say(language, "tab_batch")}"></progress>'
    return working(say(language, "batch_progress", done=done, total=total)) + bar


def outcome(batch: Batch, result: dict[str, Any], language: Language) -> str:
    """How many were answered, what failed and why, the answers, and what can be taken away."""
    failed = [row for row in result["rows"] if row["code"]]
    answered = len(result["rows"]) - len(failed)
    parts = [
        f'<p role="status"><b>{say(language, "batch_done", answered=answered, total=result["total"], failed=len(failed))}</b></p>',
        _downloads(batch, language),
        _failures(failed, language),
        _answers(result, language),
        _unscored(result, language),
        banner(say(language, "research_only")),
    ]
    return f'<section class="mm-result">{"".join(parts)}</section>'


def _downloads(batch: Batch, language: Language) -> str:
    links = "".join(
        f'<a class="mm-download" download="{name}" href="{BATCH_ROUTE}{batch.token}/{name}">{name}</a>'
        for name in FILES
        if batch.file(name) is not None
    )
    return f'<nav class="mm-downloads" aria-label="{say(language, "batch_files")}">{links}</nav>'


def _failures(failed: Sequence[dict[str, Any]], language: Language) -> str:
    if not failed:
        return ""
    rows = (
        [escape(row["study_id"]), f"<b>{escape(row['code'])}</b>", _hint(row["code"], row["message"], language)]
        for row in failed[:_SHOWN]
    )
    columns = [say(language, f"column_{name}") for name in ("study", "code", "todo")]
    return table(say(language, "batch_failures"), columns, rows) + _shown(len(failed), language)


def _hint(code: str, message: str, language: Language) -> str:
    return f'{known(language, code)} <span class="mm-muted" lang="en">{escape(message)}</span>'


def _answers(result: dict[str, Any], language: Language) -> str:
    answered = [row for row in result["rows"] if not row["code"]]
    if not answered:
        return ""
    labels = result["labels"]
    rows = (
        [
            escape(row["study_id"]),
            ", ".join(map(readable, row["called"])) or "–",
            *(f"{row['probabilities'][n]:.1%}" for n in labels),
        ]
        for row in answered[:_SHOWN]
    )
    columns = [say(language, "column_study"), say(language, "column_called"), *map(readable, labels)]
    return table(say(language, "batch_answers"), columns, rows) + _shown(len(answered), language)


def _shown(total: int, language: Language) -> str:
    return f'<p class="mm-muted">{say(language, "batch_shown", shown=_SHOWN, total=total)}</p>' if total > _SHOWN else ""


def _unscored(result: dict[str, Any], language: Language) -> str:
    if result["results"] is not None:
        return ""
    why = result["unscored"]
    return failure(why["code"], why["message"], language) if why else f'<p class="mm-muted">{say(language, "batch_unscored")}</p>'
