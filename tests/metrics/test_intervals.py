"""The patient is what is drawn: hand-checkable cases, reproducibility and measured coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from medmm.metrics import batch
from medmm.metrics.intervals import patient_weights, percentile_interval
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


def coverage(make, *, by_patient: bool) -> float:
    """Share of 200 samples of 100 patients, 4 scans each, whose interval holds the true AUROC."""
    truth, held = norm.cdf(1 / np.sqrt(2 * (1 + 0.3**2))), []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(100), 4)
        y = (rng.random(100) < 0.5)[patient]
        shift = rng.normal(size=100)[patient]
        p = 1 / (1 + np.exp(-(y + shift + 0.3 * rng.normal(size=400))))  # scans of a patient look alike
        scores = make("binary", y, p)
        drawn = weights(list(patient if by_patient else range(400)), 200, seed)
        low, high = percentile_interval(batch("auroc", scores, drawn)) or (np.nan, np.nan)
        held.append(low <= truth <= high)
    return float(np.mean(held))


def test_patient_intervals_hold_the_truth_as_often_as_they_say_and_row_intervals_do_not(make) -> None:
    assert 0.90 <= coverage(make, by_patient=True) <= 0.99  # nominal 0.95
    assert coverage(make, by_patient=False) < 0.85
