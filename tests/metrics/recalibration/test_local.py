"""Recalibration at one site: it says that it helped when it did, and that it cannot tell when it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from medmm.errors import TaskError
from medmm.metrics.recalibration.local import log_losses, recalibrate_locally


def site(n: int, seed: int, times: float = 1.0, shift: float = 0.0, scans: int = 1):
    """Labels, logits off by this factor and shift, and patients."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    y = (rng.random(n) < expit(z)).astype(int)
    logits = np.stack([np.zeros(n), times * z + shift], axis=1)
    return np.repeat(np.eye(2)[y], scans, axis=0), np.repeat(logits, scans, axis=0), np.repeat(np.arange(n), scans)


@pytest.mark.parametrize(("n", "share"), [(100, 0.75), (200, 1.0)])
def test_a_site_where_the_model_is_far_off_is_told_that_it_helped(n, share) -> None:
    found = [recalibrate_locally("binary", *site(n, seed, 3, 1), seed=seed, repeats=2) for seed in range(8)]
    assert np.mean([f.helped is True for f in found]) >= share
    assert all("helped: log-loss -" in f.verdict for f in found if f.helped)


def test_a_site_where_the_model_is_right_is_not_told_that_it_helped() -> None:
    found = [recalibrate_locally("binary", *site(100, seed), seed=seed, repeats=2) for seed in range(16)]
    assert sum(f.helped is True for f in found) <= 1
    assert sum(f.helped is None for f in found) >= 8
    assert all("cannot be told" in f.verdict for f in found if f.helped is None)


def test_a_method_that_learns_too_much_from_too_few_is_told_that_it_did_harm() -> None:
    found = recalibrate_locally("binary", *site(50, 2), method="isotonic")
    assert found.helped is False
    assert "did harm" in found.verdict


def test_the_recalibrator_is_fitted_on_all_cases_and_the_numbers_agree() -> None:
    found = recalibrate_locally("binary", *site(60, 0, 3))
    assert (found.n, found.patients, found.recalibrator.n) == (60, 60, 60)
    assert found.difference == pytest.approx(found.after - found.before)
    assert found.low <= found.difference <= found.high


def test_scans_of_a_patient_count_as_one_and_stay_in_one_fold() -> None:
    once, repeated = (recalibrate_locally("binary", *site(60, 0, 3, scans=s), method="temperature") for s in (1, 4))
    assert (repeated.n, repeated.patients) == (240, 60)
    assert repeated.difference == pytest.approx(once.difference, abs=1e-5)
    assert repeated.high - repeated.low == pytest.approx(once.high - once.low, rel=1e-3)


def test_the_same_seed_gives_the_same_report() -> None:
    first, again = (recalibrate_locally("binary", *site(60, 0, 3), seed=4) for _ in range(2))
    assert first == again


def test_labels_may_be_several_and_unknown() -> None:
    target = np.array([[1, np.nan], [np.nan, np.nan], [0, 1]])
    p = np.array([[0.5, 0.1], [0.5, 0.5], [0.8, 0.25]])
    assert log_losses("multilabel", target, p) == pytest.approx([np.log(2), 0, (np.log(5) + np.log(4)) / 2])
    labels = np.repeat(site(100, 0, 3)[0][:, 1:], 2, axis=1)
    logits = np.repeat(site(100, 0, 3)[1][:, 1:], 2, axis=1)
    assert recalibrate_locally("multilabel", labels, logits, np.arange(100)).helped is True


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(TaskError, match="at least 10 patients"):
        recalibrate_locally("binary", *site(9, 0, scans=5))
