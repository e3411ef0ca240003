"""The patient is what is drawn: hand-checkable cases, reproducibility and measured coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap, norm

from medmm.metrics import batch, evaluate
from medmm.metrics.intervals import basic_interval, bca_interval, jackknife_weights, patient_weights, percentile_interval
from medmm.types import FloatArray


def weights(cluster: list[int], replicates: int = 200, seed: int = 0) -> FloatArray:
    return np.concatenate(list(patient_weights(np.array(cluster), replicates, seed)), axis=1)


def test_samples_of_a_patient_are_drawn_together() -> None:
    drawn = weights([0, 0, 0, 1, 2, 2])
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] == drawn[2]).all()
    assert (drawn[4] == drawn[5]).all()
    assert not (drawn[0] == drawn[3]).all()


def test_every_replicate_draws_as_many_patients_as_there_are() -> None:
    first_samples = weights([0, 0, 0, 1, 2, 2])[[0, 3, 4]]
    assert first_samples.shape == (3, 200)
    assert (first_samples.sum(0) == 3).all()
    assert first_samples.mean() == pytest.approx(1)


def test_a_single_patient_leaves_nothing_to_chance() -> None:
    assert (weights([0, 0, 0]) == 1).all()


def test_two_patients_give_the_three_values_one_can_work_out_by_hand(make) -> None:
    # Patient 0 is right three times, patient 1 wrong once: drawn (0, 0), (0, 1) or (1, 1).
    scores = make("binary", [1, 1, 1, 0], [0.9, 0.9, 0.9, 0.9], cluster=[0, 0, 0, 1])
    found, counts = np.unique(batch("accuracy", scores, weights([0, 0, 0, 1], 4000)), return_counts=True)
    assert found.tolist() == [0.0, 0.75, 1.0]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_the_seed_decides_the_draws_and_nothing_else_does() -> None:
    assert (weights([0, 1, 2, 3], 100) == weights([0, 1, 2, 3], 200)[:, :100]).all()
    assert (weights([0, 1, 2, 3]) == weights([0, 0, 1, 2, 3])[1:]).all()
    assert not (weights([0, 1, 2, 3]) == weights([0, 1, 2, 3], seed=1)).all()


def test_percentiles_are_of_the_defined_replicates() -> None:
    replicates = np.r_[np.arange(101.0), np.full(100, np.nan)]
    assert percentile_interval(replicates, 0.9) == pytest.approx((5, 95))


@pytest.mark.parametrize("replicates", [np.array([]), np.full(4, np.nan), np.array([1.0, np.nan, np.nan])])
def test_too_few_defined_replicates_give_no_interval(replicates) -> None:
    assert percentile_interval(replicates) is None


HEADLINE = ("auroc", "auprc", "f1[b]", "brier")


def scans(make, patients: int, rng: np.random.Generator):
    """Four scans a patient that look alike: the label and most of the model's error are the patient's."""
    patient = np.repeat(np.arange(patients), 4)
    y = (rng.random(patients) < 0.5)[patient]
    z = 2 * y - 1 + rng.normal(size=patients)[patient] + 0.3 * rng.normal(size=4 * patients)
    return make("binary", y, 1 / (1 + np.exp(-z)), cluster=patient)


def coverage(make, *, by_patient: bool) -> FloatArray:
    """Share of 200 samples of 100 patients whose interval holds the true value, by metric."""
    large = evaluate(scans(make, 100_000, np.random.default_rng(9)), np.ones((400_000, 1)), HEADLINE)
    truth = np.array([large[name][0] for name in HEADLINE])
    assert truth[0] == pytest.approx(norm.cdf(2 / np.sqrt(2 * (1 + 0.3**2))), abs=0.005)
    held = []
    for seed in range(200):
        scores = scans(make, 100, np.random.default_rng(seed))
        drawn = weights(list(scores.cluster if by_patient else range(400)), 200, seed)
        found = evaluate(scores, drawn, HEADLINE)
        low, high = np.array([percentile_interval(found[name]) for name in HEADLINE]).T
        held.append((low <= truth) & (truth <= high))
    return np.mean(held, axis=0)


def test_patient_intervals_hold_the_truth_as_often_as_they_say_and_row_intervals_do_not(make) -> None:
    patients, rows = coverage(make, by_patient=True), coverage(make, by_patient=False)
    assert (patients >= 0.90).all()  # nominal 0.95; three standard errors are 0.046
    assert (patients <= 0.99).all()
    assert (rows < 0.8).all()


def test_draws_within_strata_keep_their_sizes() -> None:
    cluster, strata = np.array([0, 0, 1, 2, 3, 4]), np.array([7, 7, 7, 1, 1, 1])
    drawn = np.concatenate(list(patient_weights(cluster, 300, 0, strata)), axis=1)
    assert (drawn[[0, 2]].sum(0) == 2).all()
    assert (drawn[[3, 4, 5]].sum(0) == 3).all()
    assert (drawn[0] == drawn[1]).all()
    assert drawn[0].min() == 0
    assert drawn.mean() == pytest.approx(1, abs=0.1)


def test_one_stratum_is_none() -> None:
    plain, strata = (list(patient_weights(np.arange(9), 100, 3, s)) for s in (None, np.zeros(9, int)))
    assert all((a == b).all() for a, b in zip(plain, strata, strict=True))


def test_a_patient_in_two_strata_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected every patient within one stratum"):
        list(patient_weights(np.array([0, 0, 1]), 10, 0, np.array([1, 2, 2])))


def test_no_patient_gives_no_draws() -> None:
    assert [w.shape for w in patient_weights(np.empty(0, int), 70, 0)] == [(0, 64), (0, 6)]
    assert jackknife_weights(np.empty(0, int)).shape == (0, 0)


def test_the_basic_interval_is_the_percentile_interval_turned_about_the_value() -> None:
    replicates = np.arange(101.0)
    assert percentile_interval(replicates, 0.9) == pytest.approx((5, 95))
    assert basic_interval(60.0, replicates, 0.9) == pytest.approx((25, 115))
    assert basic_interval(np.nan, replicates) is None
    assert basic_interval(1.0, np.full(4, np.nan)) is None


def test_the_jackknife_leaves_out_one_group_of_patients_at_a_time() -> None:
    left = jackknife_weights(np.array([0, 0, 1, 2, 3]), groups=2)
    assert left.T.tolist() == [[0, 0, 1, 0, 1], [1, 1, 0, 1, 0]]
    assert jackknife_weights(np.array([0, 1, 1])).T.tolist() == [[0, 1, 1], [1, 0, 0]]


def skewed(n: int = 60) -> FloatArray:
    return np.random.default_rng(0).exponential(size=n)


def test_the_bca_interval_equals_scipy() -> None:
    x = skewed()
    theirs = bootstrap((x,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(1), vectorized=True)
    left = jackknife_weights(np.arange(60))
    found = bca_interval(x.mean(), theirs.bootstrap_distribution, x @ left / left.sum(0))
    assert found == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)
    assert found != pytest.approx(percentile_interval(theirs.bootstrap_distribution), rel=1e-3)


def test_groups_of_patients_accelerate_as_single_ones_do() -> None:
    x = skewed(2000)
    replicates = np.array([x @ w / w.sum(0) for w in patient_weights(np.arange(2000), 64, 0)]).ravel()
    alone, grouped = (jackknife_weights(np.arange(2000), groups) for groups in (2000, 200))
    found = [bca_interval(x.mean(), replicates, x @ left / left.sum(0)) for left in (alone, grouped)]
    assert found[0] == pytest.approx(found[1], abs=0.2 * (found[0][1] - found[0][0]))


def test_bca_does_not_exist_where_all_replicates_lie_on_one_side() -> None:
    left = np.array([0.1, 0.2, 0.3])
    assert bca_interval(0.05, np.linspace(0.1, 0.3, 50), left) is None
    assert bca_interval(0.5, np.full(50, 0.5), left) == (0.5, 0.5)
    assert bca_interval(np.nan, np.linspace(0.1, 0.3, 50), left) is None
    assert bca_interval(0.2, np.full(50, np.nan), left) is None


def test_bca_without_acceleration_and_bias_is_percentile() -> None:
    replicates = np.linspace(-1, 1, 1001)
    assert bca_interval(0.0, replicates, np.full(5, 0.3), 0.9) == pytest.approx(percentile_interval(replicates, 0.9), abs=1e-12)


def test_a_label_that_replicates_lose_leaves_the_others_their_values(make) -> None:
    """Patient 0 alone has the second label: in a third of the draws it is gone, and only there undefined."""
    target = np.array([[1, 1], [0, 0], [1, 0], [0, 0], [1, 0], [0, 0]])
    scores = make("multilabel", target, np.random.default_rng(0).random((6, 2)))
    drawn = weights([0, 1, 2, 3, 4, 5], 500)
    found = batch("auroc[b]", scores, drawn)
    assert (np.isnan(found) == (drawn[0] == 0)).sum() >= 499  # or only patient 0 was drawn
    assert 0.25 < np.isnan(found).mean() < 0.45
    macro, a = batch("auroc_macro", scores, drawn), batch("auroc[a]", scores, drawn)
    lost = np.isnan(found)
    assert macro[lost] == pytest.approx(a[lost], nan_ok=True)
