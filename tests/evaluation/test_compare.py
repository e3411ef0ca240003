"""Differences, their tests and what may be concluded from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from medmm.errors import PredictionsError
from medmm.evaluation.compare_runs import compare_runs
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.task import Task
from medmm.store import Record

N = 150


def predictions(p, y, *, called=None, patients=None, labels=("no", "yes")):
    return Predictions(
        "binary", labels,
        tuple(
            Record(
                f"s{i}", f"p{i if patients is None else patients[i]}", i, "full", "", "image", (1.0 - y[i], float(y[i])),
                (1 - p[i], p[i]), called=() if called is None else (labels[int(called[i])],),
            )
            for i in range(len(y))
        ),
        {"type": "test"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def truth_and_three():
    """y, and probabilities of a good, a poorer and a useless model."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, N)
    return y, *(1 / (1 + np.exp(-(rng.normal(size=N) + gain * (2 * y - 1)))) for gain in (2.0, 0.5, 0.0))


def compared(a, b, y, *, patients=None, **policy):
    task = Task(name="t", intervals={"replicates": 500}, comparison=policy)
    return compare_runs((predictions(a, y, patients=patients), predictions(b, y, patients=patients)), ("a", "b"), task)


def row(found, metric, test="bootstrap"):
    return next(c for c in found.comparisons if (c.metric, c.test) == (metric, test))


def test_a_better_model_is_shown_to_be_better_whatever_the_direction_of_the_metric(truth_and_three) -> None:
    y, good, poor, _ = truth_and_three
    found = compared(good, poor, y)
    for metric, sign in (("auroc", 1), ("log_loss", -1), ("brier", -1)):
        assert row(found, metric).outcome == "better"
        assert np.sign(row(found, metric).difference) == sign
    assert row(compared(poor, good, y), "auroc").outcome == "worse"
    assert (found.n, found.patients, found.left_out) == (N, N, 0)


def test_a_model_does_not_differ_from_itself(truth_and_three) -> None:
    y, good, *_ = truth_and_three
    for c in compared(good, good, y, tests=["bootstrap", "delong", "mcnemar", "permutation"]).comparisons:
        assert (c.difference, c.low, c.high, c.outcome) == (0, 0, 0, "not_shown")
        assert c.p_value == 1, c


def test_mcnemar_is_the_exact_test_of_the_discordant_pairs(truth_and_three) -> None:
    y, good, poor, _ = truth_and_three
    right_a, right_b = ((p >= 0.5) == y for p in (good, poor))
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    found = row(compared(good, poor, y), "accuracy", "mcnemar")
    assert found.p_value == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
    assert found.difference == pytest.approx((only_a - only_b) / N)


def test_the_permutation_test_of_a_mean_is_that_of_scipy(truth_and_three) -> None:
    y, _, poor, useless = truth_and_three
    found = row(compared(poor, useless, y, tests=["permutation"], permutations=4000), "brier", "permutation")
    difference = (poor - y) ** 2 - (useless - y) ** 2
    peer = stats.permutation_test(
        (difference,), lambda d, axis: d.mean(axis), permutation_type="samples", n_resamples=4000, vectorized=True, rng=0
    )
    assert found.p_value == pytest.approx(peer.pvalue, abs=0.02)
    assert found.difference == pytest.approx(difference.mean())


def test_patients_are_swapped_and_drawn_whole(truth_and_three) -> None:
    """Four copies of each patient's answers tell no more than one."""
    y, _, poor, useless = truth_and_three
    copies = np.repeat(np.arange(N), 4)
    once = compared(poor, useless, y, tests=["bootstrap", "permutation", "delong"])
    four = compared(
        poor[copies], useless[copies], y[copies], patients=copies, tests=["bootstrap", "permutation", "delong", "mcnemar"]
    )
    assert (four.n, four.patients) == (4 * N, N)
    assert {c.test for c in four.comparisons} == {"bootstrap", "permutation", "delong"}  # McNemar's needs independent samples
    assert row(four, "auroc", "delong").p_value == pytest.approx(row(once, "auroc", "delong").p_value, abs=1e-3)
    for test in ("bootstrap", "permutation"):
        assert row(four, "log_loss", test).p_value == pytest.approx(row(once, "log_loss", test).p_value, abs=0.03)
    assert row(four, "auroc").low == pytest.approx(row(once, "auroc").low, abs=0.02)


@pytest.mark.parametrize(("correction", "method"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_p_values_of_a_table_are_corrected_together(truth_and_three, correction, method) -> None:
    y, _, poor, useless = truth_and_three
    found = compared(poor, useless, y, multiplicity=correction, tests=["bootstrap"]).comparisons
    expected = multipletests([c.p_value for c in found], method=method)[1]
    assert [c.adjusted_p for c in found] == pytest.approx(list(expected))
    assert {c.correction for c in found} == {correction}
    plain = compared(poor, useless, y, multiplicity="none", tests=["bootstrap"]).comparisons
    assert {(c.correction, c.adjusted_p) for c in plain} == {("", None)}


def test_non_inferiority_is_shown_by_the_interval_and_the_margin(truth_and_three) -> None:
    y, good, poor, _ = truth_and_three
    alike = np.clip(good + np.random.default_rng(1).normal(0, 0.01, N), 0.001, 0.999)
    wide = row(compared(alike, good, y, endpoint="auroc", margin=0.05), "auroc")
    assert (wide.outcome, wide.margin) == ("non_inferior", 0.05)
    assert row(compared(alike, good, y), "auroc").outcome == "not_shown"
    assert row(compared(poor, good, y, endpoint="auroc", margin=0.01), "auroc").outcome == "worse"
    assert row(compared(alike, good, y, endpoint="auroc", margin=0.05), "brier").margin is None


def test_only_samples_that_both_answered_are_compared(truth_and_three) -> None:
    y, good, poor, _ = truth_and_three
    a, b = predictions(good, y), predictions(poor, y)
    b = replace(b, records=tuple(reversed(b.records[10:])))
    found = compare_runs((a, b), ("a", "b"), Task(name="t", intervals={"replicates": 100}))
    assert (found.n, found.left_out) == (N - 10, 10)
    assert row(found, "brier").difference == pytest.approx(np.mean((good[10:] - y[10:]) ** 2 - (poor[10:] - y[10:]) ** 2))


def test_sides_that_contradict_each_other_are_refused(truth_and_three) -> None:
    y, good, poor, _ = truth_and_three
    task, a = Task(name="t", intervals={"replicates": 100}), predictions(good, y)
    other = y.copy()
    other[0] = 1 - other[0]
    for b, said in (
        (predictions(poor, other), "1 differ"),
        (predictions(poor, y, patients=np.arange(N) + 1), f"{N} differ"),
        (predictions(poor, y, labels=("yes", "no")), "same labels"),
        (replace(a, records=tuple(replace(r, sample_id="x" + r.sample_id) for r in a.records)), "there are none"),
    ):
        with pytest.raises(PredictionsError, match=said):
            compare_runs((a, b), ("a", "b"), task)
