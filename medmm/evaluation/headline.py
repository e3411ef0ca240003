"""Which metrics are measured, and which of them carry comparisons, subgroups and sites."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from medmm.errors import TaskError
from medmm.evaluation.policies import ComparisonPolicy
from medmm.metrics import Metric, Scores, catalogue

HEADLINE = (
    "auroc", "auroc_macro", "auprc", "auprc_macro", "f1_macro", "balanced_accuracy", "accuracy", "brier", "log_loss",
    "ece[equal_width,15]", "ece_macro[equal_width,15]",
)  # fmt: skip
"""Names that a reader wants of every arm, group and pair; those that apply."""


def metrics_of(scores: Scores, wanted: Sequence[str] = ()) -> list[Metric]:
    """Metrics that apply, by name or by the part of it before `_macro` and bracket; all when nothing is wanted.

    Raises:
        TaskError: If there is no metric of this name.
    """
    known = [m for _, metrics in catalogue(scores) for m in metrics]
    return _chosen(known, wanted) if wanted else known


def headline(metrics: Sequence[Metric], wanted: Sequence[str] = ()) -> list[Metric]:
    """Those of `metrics` that are wanted; the headline ones when nothing is.

    Raises:
        TaskError: If there is no metric of this name.
    """
    return _chosen(metrics, wanted) if wanted else [m for m in metrics if m.name in HEADLINE]


def compared(metrics: Sequence[Metric], policy: ComparisonPolicy) -> list[Metric]:
    """Those to compare: the wanted or headline ones, and the endpoint.

    Raises:
        TaskError: If there is no metric of this name.
    """
    chosen = headline(metrics, policy.metrics)
    endpoint = _chosen(metrics, [policy.endpoint]) if policy.endpoint else []
    return [m for m in metrics if m in chosen or m in endpoint]


def _chosen(known: Sequence[Metric], wanted: Sequence[str]) -> list[Metric]:
    stems = {m.name: m.name.partition("[")[0].removesuffix("_macro") for m in known}
    for name in wanted:
        if name not in stems and name not in stems.values():
            near = difflib.get_close_matches(name, [*stems, *stems.values()], n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            msg = f"Expected metrics that apply to this task; {name!r} does not.{hint}"
            raise TaskError(msg)
    return [m for m in known if m.name in wanted or stems[m.name] in wanted]
