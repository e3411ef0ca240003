"""Rows beside each other: on the same samples, averaged over seeds, each against one reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from medmm.errors import TaskError
from medmm.evaluation.resample import Estimates, Resampling
from medmm.evaluation.scored import drawn_as
from medmm.evaluation.sides import Decisions, Side
from medmm.evaluation.task import Task
from medmm.metrics import Metric, Scores, decide
from medmm.metrics.comparison import adjust, bootstrap_p
from medmm.report.ablation import Difference, Outcome
from medmm.results import Value
from medmm.types import AnyArray, FloatArray

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Standing:
    """How rows are put beside each other.

    Attributes:
        resampling: Draws of patients, the same for every row.
        metrics: In what.
        endpoint: The one that chooses the reference.
    """

    resampling: Resampling
    metrics: Sequence[Metric]
    endpoint: Metric

    def values(self, found: Estimates) -> dict[str, Value]:
        """Every metric with its interval."""
        return {m.name: self.resampling.value(m, found) for m in self.metrics}

    def best(self, rows: Mapping[Key, Estimates]) -> Key:
        """The best of some rows in the endpoint."""
        sign = 1 if self.endpoint.better == "higher" else -1
        return max(rows, key=lambda row: np.nan_to_num(sign * rows[row].points[self.endpoint.name], nan=-np.inf))

    def against(self, reference: str, rows: Sequence[str], estimates: Mapping[str, Estimates]) -> dict[str, dict[str, Difference]]:
        """Differences of rows from a reference, none of its own; p values corrected over the rows, metric by metric."""
        moved = {row: estimates[row] - estimates[reference] for row in rows if row != reference}
        judged: dict[str, dict[str, Difference]] = {row: {} for row in rows}
        for metric in self.metrics:
            p = np.array([bootstrap_p(found.drawn[metric.name]) for found in moved.values()])
            known = ~np.isnan(p)
            adjusted = np.full(len(p), np.nan)
            adjusted[known] = adjust(p[known], "holm") if known.any() else ()
            for row, raw, corrected in zip(moved, p, adjusted, strict=True):
                value = self.resampling.value(metric, moved[row])
                judged[row][metric.name] = Difference(
                    value=value,
                    p_value=None if np.isnan(raw) else float(raw),
                    adjusted_p=None if np.isnan(corrected) else float(corrected),
                    outcome=self._outcome(value, float(corrected)),
                )
        return judged

    def _outcome(self, value: Value, p: float) -> Outcome:
        if value.value is None or value.low is None or value.high is None or np.isnan(p):
            return "undefined"
        low, high = (value.low, value.high) if value.better != "lower" else (-value.high, -value.low)
        if p >= 1 - self.resampling.policy.level or low <= 0 <= high:
            return "not_shown"
        return "better" if low > 0 else "worse"


def endpoint_of(metrics: Sequence[Metric]) -> Metric:
    """The ranking, where it is measured; else the first."""
    return next((m for m in metrics if m.name.startswith("auroc")), metrics[0])


def on_common_samples(sides: Mapping[Key, Sequence[Side]], task: Task) -> dict[Key, list[Side]]:
    """Every side on the samples that all answered, in one order, with patients numbered alike.

    Raises:
        TaskError: If there is no such sample.
    """
    shared = set.intersection(*({r.sample_id for r in side.rows} for runs in sides.values() for side in runs))
    if not shared:
        msg = "Expected samples that every row answered; there are none. Which modalities do the cases have?"
        raise TaskError(msg)
    return {row: [_ordered(side, sorted(shared), task) for side in runs] for row, runs in sides.items()}


def as_in(first: Side, side: Side) -> Side:
    """A side on those samples of another that it answered, with patients numbered as there.

    Args:
        first: One of `on_common_samples`.
        side: Any of the same task.
    """
    place = {r.sample_id: i for i, r in enumerate(side.rows)}
    shared = [i for i, r in enumerate(first.rows) if r.sample_id in place]
    kept = side.take(np.array([place[first.rows[i].sample_id] for i in shared], dtype=np.intp))
    s, cluster = kept.scores, first.scores.cluster[shared]
    return replace(kept, scores=Scores(s.kind, s.labels, s.target, s.probability, s.called, cluster, s.prevalence), before=None)


def _ordered(side: Side, names: Sequence[str], task: Task) -> Side:
    place = {r.sample_id: i for i, r in enumerate(side.rows)}
    kept = side.take(np.array([place[name] for name in names]))
    numbers = {name: i for i, name in enumerate(sorted({drawn_as(r, task) for r in kept.rows}))}
    cluster = np.array([numbers[drawn_as(r, task)] for r in kept.rows])
    s = kept.scores
    return replace(kept, scores=Scores(s.kind, s.labels, s.target, s.probability, s.called, cluster, s.prevalence), before=None)


def answered_by(name: str, side: Side, probability: FloatArray, called: AnyArray | None = None) -> Side:
    """Other answers for the samples of a side.

    Args:
        name: Who answers.
        side: Samples, truth and patients.
        probability: (n, K), or (1, K) for all alike.
        called: (n, K) decisions; the most probable when None.
    """
    s = side.scores
    p = np.broadcast_to(probability, s.target.shape).copy()
    decided = decide(s.kind, p) if called is None else called
    scores = Scores(s.kind, s.labels, s.target, p, decided, s.cluster, s.prevalence)
    return Side(name, name, side.rows, scores, Decisions("stated", ""))


def mean(runs: Sequence[Estimates]) -> Estimates:
    """The mean over seeds: of the values, and of each draw of patients."""
    first = runs[0]
    return Estimates(
        {n: float(np.mean([e.points[n] for e in runs])) for n in first.points},
        {n: np.mean([e.drawn[n] for e in runs], axis=0) for n in first.drawn},
        {n: np.mean([e.without[n] for e in runs], axis=0) for n in first.without},
    )
