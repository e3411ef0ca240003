"""Pieces of the page of runs as HTML text; every value that came from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from medmm.prediction import DISCLAIMER
from medmm.report import figures
from medmm.report.verdict import Sentence, verdict, verdict_on_runs
from medmm.report.words import PAIRED, headline_metrics, number, paired_cells, percent, ranking_metric
from medmm.results import Arm, Results, RunComparison
from medmm.ui.cases import Case
from medmm.ui.runs import Run

_TONES = {"good": "yes", "bad": "no", "open": "not shown", "beware": "beware"}
_SHOWN = 100
_FIGURES = 6


def banner() -> str:
    """The line that is always there."""
    return f'<p class="mm-banner" role="note">{escape(DISCLAIMER)}</p>'


def runs_table(runs: Sequence[Run]) -> str:
    """One row a run, with its headline metrics."""
    rows = []
    for run in runs:
        r, full = run.results, run.results.arms[0]
        numbers = [number(full.metrics.get(name)) for name in (ranking_metric(full.metrics), "f1_macro", "brier")]
        rows.append([run.name, r.task, r.model.get("name", "-"), r.split, str(full.n), str(full.patients), *numbers])
    head = ["run", "task", "model", "split", "samples", "patients", "AUROC", "macro-F1", "Brier"]
    return _table(head, rows) + _note(f"{len(rows)} shown. Brackets: intervals over patients.")


def run_details(results: Results) -> str:
    """What the numbers of one run say, and its curves."""
    full = results.arms[0]
    labels = list(full.calibration)[:_FIGURES]
    drawn = [figures.roc_figure(results.arms, label) for label in labels if full.curves[label].roc]
    drawn += [figures.reliability_figure(full.calibration[n], n, full.curves[n].smooth) for n in labels if full.calibration[n].bins]
    title = f"<h3>{escape(results.question or results.task)}</h3>"
    parts = [title, _sentences(verdict(results)), _arms_table(results.arms), _figures(drawn)]
    if len(full.calibration) > len(labels):
        parts.append(_note(f"Curves of {len(full.calibration) - len(labels)} further labels are in report.html."))
    return "".join(parts)


def cases_table(cases: Sequence[Case], words: str, *, only_wrong: bool) -> str:
    """Samples whose id, truth, call, pattern or code holds every word, the worst first."""
    if not cases:
        return _note("The predictions of this run are not at hand: there are only its numbers.")
    wanted = words.lower().split()
    found = [
        case
        for case in cases
        if (case.wrong is not None or not only_wrong)
        and all(w in f"{case.sample_id} {case.truth} {case.called} {case.pattern} {case.code}".lower() for w in wanted)
    ]
    rows = (
        [c.sample_id, c.truth, c.code or c.called, "-" if c.wrong is None else percent(c.wrong), c.pattern or "-"]
        for c in found[:_SHOWN]
    )
    head = ["sample", "reference standard", "called, or why it failed", "sure of the wrong answer", "inputs"]
    return _table(head, rows) + _note(f"{min(len(found), _SHOWN)} of {len(found)} samples.")


def case_details(cases: Sequence[Case], sample_id: str) -> str:
    """What every arm gave one sample."""
    case = next((c for c in cases if c.sample_id == sample_id), None)
    if case is None:
        return _note("No such sample." if sample_id else "Type the id of a sample to see what each set of inputs said of it.")
    if not case.by_arm:
        return _note(f"{case.sample_id} failed: {case.code}.")
    labels = list(next(iter(case.by_arm.values())))
    rows = ([arm, *(percent(p[label]) for label in labels)] for arm, p in case.by_arm.items())
    return _note(f"{case.sample_id}: {case.truth} by reference standard; called {case.called}.") + _table(["inputs", *labels], rows)


def side_by_side(first: Run, second: Run) -> str:
    """The numbers and curves of two runs beside each other, each on its own samples."""
    arms = tuple(run.results.arms[0].model_copy(update={"name": run.name}) for run in (first, second))
    shared = [label for label, curves in arms[0].curves.items() if curves.roc and arms[1].curves.get(label)]
    said = "" if first.results.labels == second.results.labels else _note("Their labels differ: they answer different questions.")
    return said + _arms_table(arms) + _figures([figures.roc_figure(arms, label) for label in shared[:_FIGURES]])


def paired(found: RunComparison) -> str:
    """What is shown of the difference of two runs on the samples both answered."""
    who = f"{found.n} samples of {found.patients} patients that both answered; {found.left_out} answers to others are left out."
    return _note(who) + _sentences(verdict_on_runs(found)) + _table(PAIRED, map(paired_cells, found.comparisons))


def _sentences(found: Iterable[Sentence]) -> str:
    items = "".join(f'<li class="mm-{s.tone}"><b>{_TONES[s.tone]}</b> {escape(s.text)}</li>' for s in found)
    return f'<ul class="mm-verdict">{items}</ul>'


def _arms_table(arms: Sequence[Arm]) -> str:
    names = [name for name in headline_metrics(arms[0]) if all(name in arm.metrics for arm in arms)]
    return _table(["inputs", "samples", *names], ([a.name, str(a.n), *(number(a.metrics[n]) for n in names)] for a in arms))


def _figures(drawn: Sequence[str]) -> str:
    return f'<div class="mm-figures">{"".join(f"<figure>{svg}</figure>" for svg in drawn)}</div>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = (f'<th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(c)}</td>" for c in rest)}' for first, *rest in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    table = f'<table class="mm-runs"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="mm-scroll" tabindex="0">{table}</div>'


def _note(text: str) -> str:
    return f'<p class="mm-muted">{escape(text)}</p>'
