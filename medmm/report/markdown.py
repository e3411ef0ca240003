"""The report as Markdown, for a pull request or a README: the verdict, the tables, the checklist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from medmm.report.checklist import checklist
from medmm.report.sections import CALIBRATION, DECISION
from medmm.report.verdict import Sentence, verdict, verdict_on_runs
from medmm.report.words import PAIRED, about_further, headline_metrics, measured_stems, metric_of, number, paired_cells
from medmm.results import Arm, Comparison, Results, RunComparison

_TONES = {"good": "yes", "bad": "NO", "open": "not shown", "beware": "beware"}
_SPECIAL = re.compile(r"[\\`*|~]|(?<!\w)_|_(?!\w)|\](?=\()")


def render_markdown(results: Results) -> str:
    """The page as text, with everything that came from outside escaped.

    Args:
        results: Content of `metrics.json`.
    """
    full = results.arms[0]
    blocks = [
        _head(f"{results.task}: evaluation", results.disclaimer),
        f"Question: {escape(results.question)}\n" if results.question else "",
        f"Split {escape(results.split)}: {results.counts.scored} of {results.counts.total} samples scored, {results.counts.failed} "
        f"failed, {results.counts.unlabelled} without label; {results.counts.patients} patients.\n\n"
        f"Intended use: {escape(results.intended_use or 'NOT STATED')}\n",
        _sentences(verdict(results)),
        "## Against the alternatives\n\n" + arms_table(results.arms, headline_metrics(full)),
        _how_intervals(results),
        "## By label\n\n" + _labels_table(full),
        "## Paired differences\n\n" + _comparisons_table(results.comparisons) if results.comparisons else "",
        _groups(results),
        further_tables(results),
        _identity(results),
        _checklist(results),
    ]
    return "\n".join(block for block in blocks if block)


def render_comparison_markdown(comparison: RunComparison) -> str:
    """Two runs side by side.

    Args:
        comparison: Content of `comparison.json`.
    """
    blocks = [
        _head(f"{comparison.task}: {comparison.arms[0].name} against {comparison.arms[1].name}", comparison.disclaimer),
        _sentences(verdict_on_runs(comparison)),
        "## Paired differences\n\n" + _comparisons_table(comparison.comparisons),
        "## Side by side\n\n" + arms_table(comparison.arms, headline_metrics(comparison.arms[0])),
    ]
    return "\n".join(blocks)


def escape(text: str) -> str:
    """Text that stays text: on one line, with nothing that Markdown or HTML would act on."""
    line = _SPECIAL.sub(lambda found: "\\" + found[0], " ".join(text.split()))
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def arms_table(arms: Sequence[Arm], metrics: Sequence[str]) -> str:
    """A row an arm, a column a metric."""
    rows = ([arm.name, str(arm.n), *(number(arm.metrics[name]) for name in metrics)] for arm in arms)
    return table(["inputs", "samples", *metrics], rows)


def further_tables(results: Results, level: int = 2) -> str:
    """A table a further question, its answers beside the trivial ones; empty without any.

    Args:
        results: Content of `metrics.json`.
        level: Of the heading.
    """
    blocks = []
    for t in results.tasks:
        rows = [["model", *map(number, t.metrics.values())], ["trivial", *map(number, t.trivial.values())]]
        told = f"{escape(t.name)} ({t.kind}): {escape(about_further(t))}\n"
        blocks.append(told + (f"\n{table(['answers', *t.metrics], rows)}" if t.metrics else ""))
    return "\n".join([f"{'#' * level} What else it answers\n", *blocks]) if blocks else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells are escaped."""
    lines = [head, *rows]
    written = ["| " + " | ".join(escape(cell) for cell in line) + " |" for line in lines]
    return "\n".join([written[0], "|" + "---|" * len(head), *written[1:]]) + "\n"


def _head(title: str, disclaimer: str) -> str:
    return f"# {escape(title)}\n\n**{disclaimer}**\n"


def _sentences(found: Sequence[Sentence]) -> str:
    return "## Verdict\n\n" + "".join(f"- **{_TONES[s.tone]}**: {escape(s.text)}\n" for s in found)


def _how_intervals(results: Results) -> str:
    made = results.intervals
    return f"Brackets: {made.level:.0%} intervals, {made.method}, {made.replicates} replicates, seed {made.seed}.\n"


def _labels_table(full: Arm) -> str:
    stems = {"auroc": "AUROC", "auprc": "AUPRC"} | measured_stems(full, CALIBRATION) | measured_stems(full, DECISION)
    rows = (
        [label, str(full.positives[label]), *(number(metric_of(full, stem, label)) for stem in stems)] for label in full.calibration
    )
    return table(["label", "positive", *stems.values()], rows)


def _comparisons_table(comparisons: Sequence[Comparison]) -> str:
    return table(PAIRED, map(paired_cells, comparisons))


def _groups(results: Results) -> str:
    if not results.groups:
        return ""
    names = list(dict.fromkeys(name for g in results.groups for name in g.metrics))
    rows = []
    for g in results.groups:
        shown = [number(g.metrics.get(name)) for name in names] if g.suppressed is None else [f"not shown: {g.suppressed}"]
        rows.append([g.column, g.value, str(g.n), *shown, *[""] * (len(names) - len(shown))])
    return "## Subgroups\n\n" + table(["column", "group", "samples", *names], rows)


def _identity(results: Results) -> str:
    model = f" Model {escape(results.model['name'])}, SHA-256 {results.model['sha256']}." if results.model else ""
    return (
        f"## Identity\n\nmedmm {results.medmm}; task {escape(results.task)} version {results.task_version}, "
        f"SHA-256 {results.task_sha256}.{model}\n"
    )


def _checklist(results: Results) -> str:
    rows = ([a.item.topic, a.item.tripod or "-", a.item.claim or "-", a.status] for a in checklist(results))
    return "## Reporting checklist\n\n" + table(["item", "TRIPOD+AI", "CLAIM", "status"], rows)
