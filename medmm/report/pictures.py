"""Which figures belong on a page: those of each label, those of all together, those of two runs side by side."""

from __future__ import annotations

from collections.abc import Iterable

from medmm.report import figures
from medmm.report.words import headline_metrics, metric_of, ranking_metric, thresholds_of
from medmm.results import Arm, Results, RunComparison, Value

_ECE = "ece[equal_width,15]"
Pictures = dict[str, dict[str, str]]
"""Kind of figure to what it shows to SVG."""


def label_pictures(results: Results) -> Pictures:
    """ROC, precision-recall, reliability and decision curves of every label that has them."""
    full, arms = results.arms[0], results.arms
    thresholds = thresholds_of(full)
    found: Pictures = {"discrimination": {}, "reliability": {}, "decision": {}}
    for label, c in full.curves.items():
        if c.roc:
            found["discrimination"][f"ROC of {label}"] = figures.roc_figure(arms, label)
        if c.pr:
            found["discrimination"][f"Precision and recall of {label}"] = figures.precision_figure(arms, label)
        if c.net_benefit:
            found["decision"][label] = figures.decision_figure(c.net_benefit, label, thresholds.get(label))
    for label, judged in full.calibration.items():
        if judged.bins:
            smooth = full.curves[label].smooth if label in full.curves else ()
            found["reliability"][label] = figures.reliability_figure(judged, label, smooth)
    return found


def overview_pictures(results: Results) -> Pictures:
    """Forests and curves that show arms, labels, groups or levels together."""
    full = results.arms[0]
    ranking = ranking_metric(full.metrics)
    headline = {name: {arm.name: arm.metrics[name] for arm in results.arms} for name in headline_metrics(full)[:2]}
    found = {
        "arms": {name: figures.forest_figure(rows, name) for name, rows in headline.items() if _any_value(rows.values())},
        "labels": _label_forests(full),
        "groups": _group_forests(results, ranking),
        "robustness": {
            f"{c.perturbation}, {c.metric}": figures.robustness_figure(c)
            for c in results.robustness
            if sum(v.value is not None for v in c.values) > 1
        },
    }
    curves = {arm.name: arm.risk_coverage for arm in results.arms if arm.risk_coverage}
    return found | {"risk": {"error rate": figures.risk_coverage_figure(curves)} if curves else {}}


def side_by_side(comparison: RunComparison) -> Pictures:
    """Differences of two runs, and their curves over each other."""
    arms = comparison.arms
    differences = {c.metric: Value(value=c.difference, low=c.low, high=c.high, better="target") for c in comparison.comparisons}
    name = f"{arms[0].name} minus {arms[1].name}"
    labels = [label for label, c in arms[0].curves.items() if c.roc]
    return {
        "differences": {name: figures.forest_figure(differences, name, reference=0)} if _any_value(differences.values()) else {},
        "roc": {label: figures.roc_figure(arms, label) for label in labels},
        "reliability": {
            f"{label}, {arm.name}": figures.reliability_figure(
                judged, label, arm.curves[label].smooth if label in arm.curves else ()
            )
            for label in arms[0].calibration
            for arm in arms
            if (judged := arm.calibration.get(label)) is not None and judged.bins
        },
    }


def _label_forests(full: Arm) -> dict[str, str]:
    """With several labels: how each is ranked, and its calibration error against what chance would give."""
    if len(full.calibration) < 2:
        return {}
    chosen = {"AUROC": ("auroc", 0.5), "AUPRC": ("auprc", None), "ECE": (_ECE, None)}
    found = {}
    for said, (stem, reference) in chosen.items():
        rows = {label: value for label in full.calibration if (value := metric_of(full, stem, label)) is not None}
        if _any_value(rows.values()):
            found[said] = figures.forest_figure(rows, said, reference=reference)
    return found


def _group_forests(results: Results, ranking: str) -> dict[str, str]:
    found: dict[str, str] = {}
    whole = results.arms[0].metrics.get(ranking)
    if whole is None:  # the task leaves AUROC out
        return found
    for column in dict.fromkeys(g.column for g in results.groups):
        shown = {g.value: g.metrics[ranking] for g in results.groups if g.column == column and ranking in g.metrics}
        if _any_value(shown.values()):
            found[column] = figures.forest_figure({"everybody": whole} | shown, ranking, reference=whole.value)
    return found


def _any_value(values: Iterable[Value]) -> bool:
    return any(v.value is not None for v in values)
