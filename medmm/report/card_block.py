"""What a model card says of measured results: the Hub's `model-index` for machines, a table for people."""

from __future__ import annotations

from typing import Any

import yaml

from medmm.report.markdown import arms_table, further_tables
from medmm.report.words import headline_metrics, interval
from medmm.results import Results


def model_index(name: str, results: Results) -> list[dict[str, Any]]:
    """`model-index` of a Hugging Face model card: the headline metrics that are defined, with their intervals.

    Args:
        name: Of the model.
        results: Content of `metrics.json`.
    """
    full = results.arms[0]
    said = {metric: full.metrics[metric] for metric in headline_metrics(full)}
    level = f"{results.intervals.level:.0%}"
    metrics = [
        {"type": metric, "value": round(v.value, 6), "name": metric + _in_words(interval(v.low, v.high), level)}
        for metric, v in said.items()
        if v.value is not None
    ]
    if not metrics:
        return []
    task = {"type": "other", "name": results.question or results.task}
    dataset = {
        "type": results.task,
        "name": f"{results.task}, {full.n} samples of {full.patients} patients",
        "split": results.split,
    }
    return [{"name": name, "results": [{"task": task, "dataset": dataset, "metrics": metrics}]}]


def measured_table(results: Results) -> str:
    """Who was measured, the headline metrics of every arm, and what to beware of."""
    full = results.arms[0]
    lines = [
        f"Task {results.task} version {results.task_version}, split {results.split}: {results.counts.scored} samples of "
        f"{results.counts.patients} patients; {results.intervals.level:.0%} intervals by {results.intervals.method}.",
        "",
        arms_table(results.arms, headline_metrics(full)),
        *(f"{note}\n" for note in results.notes),
        further_tables(results, level=3),
    ]
    return "\n".join(lines).rstrip("\n")


def render_card_block(name: str, results: Results) -> str:
    """A model card of nothing but the measured part, to be pasted into one.

    Args:
        name: Of the model.
        results: Content of `metrics.json`.
    """
    return f"{card_header({'model-index': model_index(name, results)})}\n**{results.disclaimer}**\n\n{measured_table(results)}\n"


def card_header(content: dict[str, Any]) -> str:
    """YAML between the lines that mark a card's header."""
    return "---\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000) + "---\n"


def _in_words(shown: str, level: str) -> str:
    return f" ({level} interval{shown})" if shown else ""
