"""Intervals by every method, strata, and draws that are shared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medmm.errors import TaskError
from medmm.evaluation.policies import IntervalPolicy
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.resample import Resampling
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.metrics import Scores, catalogue
from medmm.metrics.intervals import bca_interval, jackknife_weights
from medmm.store import Record

N = 60


@pytest.fixture(scope="module")
def scores() -> Scores:
    rng = np.random.default_rng(0)
    y = np.arange(N) % 3 == 0
    p = np.clip(0.3 * y + 0.6 * rng.random(N), 0, 1)
    target = np.stack([~y, y], axis=1).astype(float)
    return Scores(
        "binary", ("no", "yes"), target, np.stack([1 - p, p], axis=1), np.stack([p < 0.5, p >= 0.5], axis=1), np.arange(N)
    )


def brier(scores: Scores):
    return next(m for _, family in catalogue(scores) for m in family if m.name == "brier")


def interval(scores: Scores, method: str):
    resampling = Resampling.of(N, IntervalPolicy(method=method, replicates=400))
    found = resampling.estimate(scores, [brier(scores)])
    return resampling.value(brier(scores), found), found


def test_every_method_makes_its_own_interval_of_the_same_draws(scores) -> None:
    percentile, found = interval(scores, "percentile")
    basic, _ = interval(scores, "basic")
    bca, with_jackknife = interval(scores, "bca")
    assert [percentile.low, percentile.high] == pytest.approx(np.quantile(found.drawn["brier"], [0.025, 0.975]))
    assert [basic.low, basic.high] == pytest.approx([2 * basic.value - percentile.high, 2 * basic.value - percentile.low])
    error = (scores.probability[:, 1] - scores.target[:, 1]) ** 2
    without = np.array([np.delete(error, i).mean() for i in range(N)])
    assert with_jackknife.without["brier"] == pytest.approx(without)
    assert [bca.low, bca.high] == pytest.approx(bca_interval(error.mean(), found.drawn["brier"], without))
    assert jackknife_weights(np.arange(N)).shape == (N, N)


def test_what_was_computed_of_the_same_scores_is_not_computed_again(scores) -> None:
    resampling = Resampling.of(N, IntervalPolicy(replicates=100))
    first = resampling.estimate(scores, [brier(scores)])
    assert resampling.estimate(scores, [brier(scores)]).drawn["brier"] is first.drawn["brier"]
    part = resampling.estimate(scores.take(np.arange(10)), [brier(scores)])
    assert part.points["brier"] != first.points["brier"]


def test_a_ratio_of_sums_is_that_of_each_draw(scores) -> None:
    resampling = Resampling.of(N, IntervalPolicy(replicates=100))
    y = scores.target[:, 1]
    found = resampling.ratio("share", y, np.ones(N), scores.cluster)
    assert found.points["share"] == y.mean()
    assert found.drawn["share"] == pytest.approx((resampling.counts * y[:, None]).sum(0) / N)


def records(columns=lambda i: {"site": "ab"[i % 2]}):
    return tuple(
        Record(f"s{i}", f"p{i // 2}", i, "full", target=(float(i // 2 % 3 > 0), float(i // 2 % 3 == 0)), probability=(0.6, 0.4),
               columns=columns(i)) for i in range(N)
    )  # fmt: skip


def results(rows, strata):
    task = Task(name="t", intervals={"replicates": 100, "strata": strata}, metrics=["brier", "prevalence", "accuracy"])
    return score(Predictions("binary", ("no", "yes"), rows, {}), task)


def test_within_strata_of_the_label_its_share_does_not_vary() -> None:
    plain, strata = (results(records(), s).arms[0].metrics["prevalence[yes]"] for s in ("", "label"))
    assert plain.low < plain.value < plain.high
    assert (strata.low, strata.high) == (strata.value, strata.value)


def test_strata_must_be_those_of_patients() -> None:
    with pytest.raises(TaskError, match="some stand in two"):
        results(records(), "site")
    with pytest.raises(TaskError, match="there is none"):
        results(records(), "hospital")
    fine = records(lambda i: {"site": "ab"[i // 2 % 2]})
    assert results(fine, "site").intervals.strata == "site"
    assert results(tuple(replace(r, columns={"site": "a"}) for r in fine), "site").arms[0].metrics["brier"].value is not None


def test_samples_of_one_picture_are_drawn_together() -> None:
    """Against the interval of the same samples when the picture is the patient."""
    shown = records(lambda i: {"picture": f"p{i // 4}"})

    def measured(rows, cluster):
        task = Task(name="t", intervals={"replicates": 200, "cluster": cluster}, metrics=["brier"])
        return score(Predictions("binary", ("no", "yes"), rows, {}), task)

    found = measured(shown, "picture")
    as_patients = measured(tuple(replace(r, patient_id=r.columns["picture"]) for r in shown), "patient")
    by, peer, narrower = (r.arms[0].metrics["brier"] for r in (found, as_patients, measured(shown, "row")))
    assert (by.low, by.high) == (peer.low, peer.high) != (narrower.low, narrower.high)
    assert found.intervals.method == "picture bootstrap, percentile"
    assert "Intervals resample whole values of picture, not samples." in found.notes
    with pytest.raises(TaskError, match="cluster column 'scanner'"):
        measured(shown, "scanner")
