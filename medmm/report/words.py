"""Numbers as words: with their interval, or with the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping

from medmm.results import Arm, Comparison, FurtherResult, Value

OUTCOMES = {"better": "better", "worse": "worse", "non_inferior": "not inferior", "not_shown": "not shown"}
PAIRED = ("first", "minus", "metric", "samples", "difference", "p", "adjusted p", "first is")
"""Columns of a table of paired differences, as `paired_cells` fills them."""


def number(value: Value | None, digits: int = 3) -> str:
    """A value with its interval, or that it is undefined."""
    if value is None or value.value is None:
        return "undefined"
    return f"{value.value:.{digits}f}{interval(value.low, value.high, digits)}"


def interval(low: float | None, high: float | None, digits: int = 3, sign: str = "") -> str:
    """` [low, high]`, or nothing."""
    return "" if low is None or high is None else f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def difference(found: Comparison, digits: int = 3) -> str:
    """A signed difference with its interval, or that it is undefined."""
    if found.difference is None:
        return "undefined"
    return f"{found.difference:+.{digits}f}{interval(found.low, found.high, digits, '+')}"


def paired_cells(found: Comparison) -> list[str]:
    """One paired difference under the columns of `PAIRED`."""
    p_values = [p_value(found.p_value), p_value(found.adjusted_p)]
    return [found.first, found.second, found.metric, str(found.n), difference(found, 4), *p_values, OUTCOMES[found.outcome]]


def p_value(p: float | None) -> str:
    """`0.034`, `< 0.001`, or a dash."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def equals(p: float) -> str:
    """`= 0.034` or `< 0.001`, to stand after its p."""
    return p_value(p) if p < 0.001 else f"= {p_value(p)}"


def percent(share: float | None) -> str:
    """`12.5 %`, or a dash."""
    return "-" if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def ranking_metric(metrics: Mapping[str, Value]) -> str:
    """Name of the AUROC that stands for all labels."""
    return "auroc" if "auroc" in metrics else "auroc_macro"


def headline_metrics(arm: Arm) -> list[str]:
    """Names of the metrics that belong in the first table."""
    precision = "auprc" if "auprc" in arm.metrics else "auprc_macro"
    wanted = (ranking_metric(arm.metrics), "f1_macro", precision, "brier", "log_loss")
    return [name for name in wanted if name in arm.metrics]


def metric_of(arm: Arm, stem: str, label: str) -> Value | None:
    """A metric of one label, None where it was not measured.

    Args:
        arm: Of this.
        stem: Name as it is for a single label, e.g. `auroc` or `ece[equal_width,15]`.
        label: One of several, or the only one that is scored.
    """
    head, _, estimator = stem.rstrip("]").partition("[")
    named = f"{head}[{label},{estimator}]" if estimator else f"{head}[{label}]"
    if named in arm.metrics:
        return arm.metrics[named]
    return arm.metrics.get(stem) if len(arm.calibration) == 1 else None


def measured_stems(arm: Arm, stems: Mapping[str, str]) -> dict[str, str]:
    """Those of `stems`, each to its name for people, that were measured for some label."""
    return {stem: said for stem, said in stems.items() if any(metric_of(arm, stem, label) for label in arm.calibration)}


def thresholds_of(arm: Arm) -> dict[str, float]:
    """Label to the threshold its decisions were made at; empty where there is none."""
    given = arm.decision.thresholds or ()
    return dict(zip(arm.calibration, given, strict=True)) if len(given) == len(arm.calibration) else {}


def about_further(found: FurtherResult) -> str:
    """Who a further question was measured on, whether its answers are calibrated, and what stands beside them."""
    answers = "are calibrated on held-out patients" if found.calibrated else "are not calibrated"
    unanswered = f"; {found.unanswered} more have no answer" if found.unanswered else ""
    beside = f" Beside it: {found.trivial_what}." if found.trivial_what else " Nothing to score: no truth with an answer."
    return f"{found.n} samples of {found.patients} patients{unanswered}. Its answers {answers}.{beside}"
