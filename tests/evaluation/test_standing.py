"""Rows beside each other: the same samples, the same draws, corrected p values."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from medmm.errors import TaskError
from medmm.evaluation.headline import metrics_of
from medmm.evaluation.policies import IntervalPolicy
from medmm.evaluation.resample import Resampling
from medmm.evaluation.sides import Decisions, Side
from medmm.evaluation.standing import Standing, answered_by, endpoint_of, mean, on_common_samples
from medmm.evaluation.task import Task
from medmm.metrics import Scores, decide
from medmm.store import Record

TASK = Task(name="t", intervals=IntervalPolicy(replicates=200))


def side(name: str, noise: float, ids: range = range(120), seed: int = 0) -> Side:
    rng = np.random.default_rng(seed)
    y = np.array([i % 3 == 0 for i in ids], dtype=float)
    p = 1 / (1 + np.exp(-(2 * y - 1 + noise * rng.normal(size=len(y)))))
    probability, target = np.stack([1 - p, p], axis=1), np.stack([1 - y, y], axis=1)
    rows = tuple(
        Record(
            sample_id=f"S{i}",
            patient_id=f"P{i // 2}",
            position=i,
            arm="full",
            pattern="text",
            split="test",
            target=tuple(t),
            probability=tuple(q),
        )
        for i, t, q in zip(ids, target, probability, strict=True)
    )
    scores = Scores("binary", ("no", "yes"), target, probability, decide("binary", probability), np.array([i // 2 for i in ids]))
    return Side(name, name, rows, scores, Decisions("stated", ""))


def test_sides_are_cut_to_the_samples_that_all_answered() -> None:
    found = on_common_samples({"a": [side("a", 1)], "b": [side("b", 1, range(60, 180))]}, TASK)
    (a,), (b,) = found["a"], found["b"]
    assert [r.sample_id for r in a.rows] == [r.sample_id for r in b.rows]
    assert len(a.rows) == 60
    assert np.array_equal(a.scores.cluster, b.scores.cluster)
    assert len(np.unique(a.scores.cluster)) == 30


def test_sides_with_nothing_in_common_are_refused() -> None:
    with pytest.raises(TaskError, match="every row answered"):
        on_common_samples({"a": [side("a", 1)], "b": [side("b", 1, range(200, 260))]}, TASK)


def test_differences_are_judged_against_the_reference_with_holms_correction() -> None:
    sides = {name: side(name, noise, seed=i) for i, (name, noise) in enumerate([("good", 0.3), ("bad", 4.0), ("like", 0.3)])}
    metrics = metrics_of(sides["good"].scores, ["auroc", "brier"])
    resampling = Resampling.of(60, TASK.intervals)
    standing = Standing(resampling, metrics, endpoint_of(metrics))
    estimates = {name: resampling.estimate(s.scores, metrics) for name, s in sides.items()}
    assert standing.best({"bad": estimates["bad"], "good": estimates["good"]}) == "good"
    judged = standing.against("good", list(sides), estimates)
    assert judged["good"] == {}
    assert judged["bad"]["auroc"].outcome == "worse"
    assert judged["bad"]["brier"].outcome == "worse"  # a higher Brier score is worse
    assert judged["like"]["auroc"].outcome == "not_shown"
    raw = [judged[name]["brier"].p_value for name in ("bad", "like")]
    assert [judged[name]["brier"].adjusted_p for name in ("bad", "like")] == pytest.approx(multipletests(raw, method="holm")[1])


def test_the_mean_over_seeds_is_that_of_every_draw() -> None:
    sides = [side("a", 1, seed=1), side("a", 1, seed=2)]
    metrics = metrics_of(sides[0].scores, ["brier"])
    resampling = Resampling.of(60, TASK.intervals)
    runs = [resampling.estimate(s.scores, metrics) for s in sides]
    both = mean(runs)
    assert both.points["brier"] == pytest.approx((runs[0].points["brier"] + runs[1].points["brier"]) / 2)
    assert both.drawn["brier"] == pytest.approx((runs[0].drawn["brier"] + runs[1].drawn["brier"]) / 2)


def test_one_answer_for_everybody_is_spread_over_all_samples() -> None:
    found = answered_by("prevalence", side("a", 1), np.array([[0.7, 0.3]]))
    assert found.scores.probability.shape == (120, 2)
    assert not found.scores.called[:, 1].any()
