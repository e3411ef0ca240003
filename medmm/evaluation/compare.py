"""Paired differences: two arms, or two runs, on the samples both answered, with the same patients drawn for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medmm.evaluation.policies import ComparisonPolicy
from medmm.evaluation.resample import Resampling
from medmm.evaluation.sides import Side
from medmm.metrics import Metric, Scores
from medmm.metrics.comparison import adjust, bootstrap_p, delong_p, mcnemar_p, permutation_p
from medmm.results import Comparison
from medmm.types import AnyArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two sides on the samples both answered, row by row the same."""

    first: Side
    second: Side

    @classmethod
    def of(cls, first: Side, second: Side) -> Pair:
        """Keep what is common, in the order of the first."""
        place = {r.sample_id: i for i, r in enumerate(second.rows)}
        common = [(i, place[r.sample_id]) for i, r in enumerate(first.rows) if r.sample_id in place]
        both = np.array(common, dtype=int).reshape(-1, 2)
        return cls(*(_kept(side, rows) for side, rows in zip((first, second), both.T, strict=True)))

    def __len__(self) -> int:
        return len(self.first.rows)


def _kept(side: Side, rows: IntArray) -> Side:
    """The side itself where nothing is left out, so that what was computed of it need not be again."""
    return side if np.array_equal(rows, np.arange(len(side.rows))) else side.take(rows)


def compare(pair: Pair, metrics: Sequence[Metric], resampling: Resampling, policy: ComparisonPolicy) -> list[Comparison]:
    """First minus second in every metric, by every test that applies to it; nothing without a common sample.

    Args:
        pair: Whom to compare.
        metrics: In what.
        resampling: Draws; clusters are the patients it knows.
        policy: Tests and margin.
    """
    if not len(pair):
        return []
    a, b = pair.first.scores, pair.second.scores
    differences = resampling.estimate(a, metrics) - resampling.estimate(b, metrics)
    found = []
    for metric in metrics:
        value, drawn = resampling.value(metric, differences), differences.drawn[metric.name]
        margin = policy.margin if policy.margin and policy.endpoint == metric.name else None
        for test in policy.tests:
            if (p := _p_value(test, metric, pair, drawn, policy, resampling)) is not None or test == "bootstrap":
                found.append(
                    Comparison(
                        first=pair.first.name,
                        second=pair.second.name,
                        metric=metric.name,
                        n=len(pair),
                        difference=value.value,
                        low=value.low,
                        high=value.high,
                        excludes_zero=None if value.low is None or value.high is None else value.low > 0 or value.high < 0,
                        test=test,
                        p_value=p,
                        margin=margin,
                    )
                )
    return found


def conclude(
    table: Sequence[Comparison], metrics: Sequence[Metric], policy: ComparisonPolicy, level: float
) -> tuple[Comparison, ...]:
    """Correct the p values of one table, test by test, and say what is shown.

    A difference is shown when its interval leaves out zero and its corrected p is below 1 - level.

    Args:
        table: Comparisons made together.
        metrics: Their directions.
        policy: Correction.
        level: Of the intervals.
    """
    better = {m.name: m.better for m in metrics}
    adjusted: dict[int, float] = {}
    if policy.multiplicity != "none":
        for test in dict.fromkeys(c.test for c in table):
            places = [i for i, c in enumerate(table) if c.test == test and c.p_value is not None]
            p_values = np.array([table[i].p_value for i in places], dtype=np.float64)
            adjusted |= dict(zip(places, map(float, adjust(p_values, policy.multiplicity)), strict=True)) if places else {}
    out = []
    for i, c in enumerate(table):
        p = adjusted.get(i, c.p_value)
        outcome = _outcome(c, better[c.metric], significant=p is None or p < 1 - level)
        correction = policy.multiplicity if i in adjusted else ""
        out.append(c.model_copy(update={"adjusted_p": adjusted.get(i), "correction": correction, "outcome": outcome}))
    return tuple(out)


def _outcome(c: Comparison, better: str, *, significant: bool) -> str:
    if c.low is None or c.high is None or better == "target":
        return "not_shown"
    low, high = (c.low, c.high) if better == "higher" else (-c.high, -c.low)
    if low > 0 and significant:
        return "better"
    if c.margin is not None and low > -c.margin:
        return "non_inferior"
    return "worse" if high < 0 and significant else "not_shown"


def _p_value(
    test: str, metric: Metric, pair: Pair, drawn: FloatArray, policy: ComparisonPolicy, resampling: Resampling
) -> float | None:
    """Of no difference; None where the test does not apply or tells nothing."""
    a, b = pair.first.scores, pair.second.scores
    p = None
    if test == "bootstrap":
        p = bootstrap_p(drawn)
    elif test == "permutation":
        p = permutation_p(a, b, metric.name, policy.permutations, resampling.policy.seed)
    elif test == "delong" and metric.name == "auroc":
        p = delong_p(a.target[:, 1], a.probability[:, 1], b.probability[:, 1], a.cluster)
    elif test == "mcnemar" and metric.name == "accuracy" and _independent(a):
        p = mcnemar_p(_right(a), _right(b))
    return None if p is None or np.isnan(p) else p


def _independent(scores: Scores) -> bool:
    """Whether each patient has one decision."""
    return scores.kind != "multilabel" and len(np.unique(scores.cluster)) == len(scores)


def _right(scores: Scores) -> AnyArray:
    """(n,) whether the decision is right."""
    return np.asarray((scores.called == (scores.target == 1)).all(1))
