"""Held against R's pROC, brute force over pairs, scikit-learn at sizes that overflow others, and samples of known law."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn import metrics as sk

from medmm.metrics.delong import Areas, area_interval, delong, obuchowski, paired_test, unpaired_test

NAMES = {"p1": "p1", "p2": "p2", "p3": "p3_ties"}


@pytest.fixture(scope="module")
def data(refs):
    given = refs["data_synthetic"]
    return np.array(given["y"]), {name: np.array(given[name]) for name in NAMES}, np.array(given["cluster"])


def by_pairs(y, s) -> tuple[np.ndarray, np.ndarray]:
    """Placement values by comparing every positive with every negative."""
    wins = (s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0])
    return wins.mean(1), wins.mean(0)


@pytest.mark.parametrize("name", NAMES)
def test_area_variance_and_interval_equal_r_proc(data, inference_refs, name) -> None:
    y, scores, _ = data
    expected, tolerance = inference_refs["roc"][NAMES[name]], inference_refs["suggested_tolerance"]
    found = delong(y, scores[name])
    assert found.area[0] == pytest.approx(expected["auc"], rel=0, abs=tolerance["auc"])
    assert found.covariance[0, 0] == pytest.approx(expected["delong_var"], rel=0, abs=tolerance["delong_var"])
    assert area_interval(found) == pytest.approx(expected["ci95"], rel=0, abs=tolerance["delong_z"])


@pytest.mark.parametrize("other", ["p2", "p3"])
def test_the_paired_test_equals_r_proc(data, inference_refs, other) -> None:
    y, scores, _ = data
    expected, tolerance = inference_refs["roc"][f"test_p1_{other}"], inference_refs["suggested_tolerance"]
    areas = delong(y, np.stack([scores["p1"], scores[other]], axis=1))
    found = paired_test(areas)
    assert [found.z, found.p_value] == pytest.approx([expected["z"], expected["p"]], rel=0, abs=tolerance["delong_z"])
    assert areas.covariance[0, 1] == pytest.approx(expected["cov"], rel=0, abs=tolerance["delong_var"])
    reach = norm.ppf(0.975) * found.variance**0.5
    assert [found.difference - reach, found.difference + reach] == pytest.approx(expected["diff_ci95"], abs=1e-8)


def test_areas_of_different_patients_have_variances_that_add_up(data) -> None:
    y, scores, _ = data
    first, second = delong(y[:200], scores["p1"][:200]), delong(y[200:], scores["p2"][200:])
    found = unpaired_test(first, second)
    variances = []
    for half, name in ((slice(200), "p1"), (slice(200, None), "p2")):
        v10, v01 = by_pairs(y[half], scores[name][half])
        variances.append(v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01))
    assert found.variance == pytest.approx(sum(variances), rel=1e-12)
    assert found.p_value == pytest.approx(2 * norm.sf(abs(found.difference) / sum(variances) ** 0.5), rel=1e-10)


def test_patients_with_one_sample_each_give_delong(data) -> None:
    y, scores, _ = data
    both = np.stack([scores["p1"], scores["p3"]], axis=1)
    assert obuchowski(y, both, np.arange(400)).covariance == pytest.approx(delong(y, both).covariance, rel=1e-12)


def test_clustered_variance_equals_its_definition(data) -> None:
    """Obuchowski (1997), equations for S10, S01 and S11, sample by sample."""
    y, scores, cluster = data
    s = scores["p1"]
    v10, v01 = by_pairs(y, s)
    area, m, n = v10.mean(), (y == 1).sum(), (y == 0).sum()
    placement = np.empty(400)
    placement[y == 1], placement[y == 0] = v10, v01
    s10 = s01 = s11 = 0.0
    ids = np.unique(cluster)
    for i in ids:
        ones, zeros = (cluster == i) & (y == 1), (cluster == i) & (y == 0)
        x, z = placement[ones].sum() - ones.sum() * area, placement[zeros].sum() - zeros.sum() * area
        s10, s01, s11 = s10 + x * x, s01 + z * z, s11 + x * z
    i10, i01, i = len(np.unique(cluster[y == 1])), len(np.unique(cluster[y == 0])), len(ids)
    s10, s01, s11 = s10 * i10 / ((i10 - 1) * m), s01 * i01 / ((i01 - 1) * n), s11 * i / (i - 1)
    expected = s10 / m + s01 / n + 2 * s11 / (m * n)
    assert obuchowski(y, s, cluster).covariance[0, 0] == pytest.approx(expected, rel=1e-12)


def test_four_copies_of_every_sample_tell_no_more_than_one(data) -> None:
    y, scores, _ = data
    once, four = delong(y, scores["p1"]), obuchowski(np.repeat(y, 4), np.repeat(scores["p1"], 4), np.repeat(np.arange(400), 4))
    assert four.area == pytest.approx(once.area)
    assert four.covariance == pytest.approx(once.covariance, rel=1e-12)
    assert delong(np.repeat(y, 4), np.repeat(scores["p1"], 4)).covariance[0, 0] < once.covariance[0, 0] / 3.9


def test_very_many_samples_neither_overflow_nor_round() -> None:
    """150,000 samples overflowed 32-bit products elsewhere; single-precision midranks gave areas above 1."""
    rng = np.random.default_rng(0)
    y = (rng.random(150_000) < 0.3).astype(int)
    s = (y + rng.normal(size=len(y))).round(3)
    found = delong(y, s)
    assert found.area[0] == pytest.approx(sk.roc_auc_score(y, s), rel=0, abs=1e-12)
    low, high = area_interval(found)
    assert 0.004 < high - low < 0.006
    assert delong(np.sort(y), np.arange(len(y))).area[0] == 1.0


@pytest.mark.parametrize("y", [[0, 0, 0], [1, 1, 1]])
def test_one_class_has_no_area(y) -> None:
    for found in (delong(np.array(y), np.arange(3.0)), obuchowski(np.array(y), np.arange(3.0), np.array([0, 0, 1]))):
        assert np.isnan(found.area).all()
        assert area_interval(found) is None
        assert np.isnan(unpaired_test(found, found).p_value)


def test_a_single_positive_has_an_area_but_no_interval() -> None:
    y, s = np.array([0, 0, 1, 0]), np.array([0.1, 0.8, 0.6, 0.2])
    found = delong(y, s)
    assert found.area[0] == pytest.approx(2 / 3)
    assert area_interval(found) is None
    assert area_interval(obuchowski(np.tile(y, 2), np.tile(s, 2), np.array([0, 1, 2, 3] * 2))) is None


def test_perfect_separation_has_no_interval_and_no_test_against_less() -> None:
    y, perfect, less = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.1, 0.6, 0.5, 0.9])
    assert area_interval(delong(y, perfect)) is None
    same = paired_test(delong(y, np.stack([less, less], axis=1)))
    assert (same.z, same.p_value) == (0.0, 1.0)
    without_variance = paired_test(Areas(np.array([1.0, 0.8]), np.zeros((2, 2))))
    assert np.isnan([without_variance.z, without_variance.p_value]).all()


def test_all_scores_tied_are_chance(data) -> None:
    y, _, _ = data
    assert delong(y, np.full(400, 0.3)).area[0] == 0.5


def test_clustered_intervals_hold_the_truth_as_often_as_they_say_and_independent_ones_do_not() -> None:
    truth = norm.cdf(1 / np.sqrt(2 * (1 + 0.3**2)))
    held = np.zeros((400, 2))
    for seed in range(400):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(100), 4)
        y = (rng.random(100) < 0.5).astype(int)[patient]
        s = y + rng.normal(size=100)[patient] + 0.3 * rng.normal(size=400)
        for k, found in enumerate((obuchowski(y, s, patient), delong(y, s))):
            low, high = area_interval(found)
            held[seed, k] = low <= truth <= high
    assert 0.92 <= held[:, 0].mean() <= 0.98  # nominal 0.95, three standard errors are 0.033
    assert held[:, 1].mean() < 0.8
