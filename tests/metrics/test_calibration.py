"""Held against scikit-learn, R and the definitions; the verdict against samples whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from medmm.metrics.calibration import (
    bin_index,
    brier,
    calibration_in_the_large,
    ece,
    judge_calibration,
    log_loss,
    reliability,
    slope_intercept,
)
from medmm.sources.phantom.truth import ARMS, Table
from medmm.types import FloatArray

EXACT = {"rel": 0, "abs": 1e-12}


def sharpened(p: FloatArray, slope: float) -> FloatArray:
    """The probabilities with their logits multiplied; below 1 too timid, above 1 too confident."""
    return 1 / (1 + np.exp(-slope * np.log(p / (1 - p))))


def draw_phantom(patients: int, rng: np.random.Generator, scans: int = 1) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Labels, true posteriors and patients of a sample from the phantom's law, the same label for all scans of a patient."""
    law = Table(((0.05, 0.15), (0.15, 0.95)))  # noisier than the default, so that errors are harder to see
    p = rng.choice(law.posterior(ARMS[0]).ravel(), size=patients, p=law.cells.ravel())
    y = (rng.random(patients) < p).astype(float)
    return np.repeat(y, scans), np.repeat(p, scans), np.repeat(np.arange(patients), scans)


def generated(seed: int, kind: str) -> tuple[FloatArray, FloatArray]:
    """A random binary sample: smooth, with ties, with certain and wrong probabilities, or constant."""
    rng = np.random.default_rng(seed)
    y = (rng.random(60) < 0.4).astype(float)
    p = {
        "smooth": rng.random(60),
        "ties": rng.random(60).round(1),
        "certain": rng.choice([0.0, 0.3, 1.0], 60),
        "constant": np.full(60, 0.4),
    }
    return y, p[kind]


KINDS = pytest.mark.parametrize("kind", ["smooth", "ties", "certain", "constant"])


@KINDS
@pytest.mark.parametrize("seed", range(10))
def test_binary_brier_and_log_loss_equal_scikit_learn(make, kind, seed) -> None:
    y, p = generated(seed, kind)
    w = np.random.default_rng(seed).integers(0, 4, 60).astype(float)
    scores = make("binary", y, p)
    assert brier(scores, w[:, None])[0] == pytest.approx(sk.brier_score_loss(y, p, sample_weight=w), **EXACT)
    assert log_loss(scores, w[:, None])[0] == pytest.approx(sk.log_loss(y, p, sample_weight=w, labels=[0, 1]), **EXACT)


@pytest.mark.parametrize("seed", range(10))
def test_multiclass_brier_and_log_loss_equal_scikit_learn(make, seed) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([0.3] * 4, 50)
    y, w = rng.integers(0, 4, 50), rng.integers(0, 4, 50).astype(float)
    scores = make("multiclass", y, p)
    summed = sk.brier_score_loss(y, p, labels=range(4), scale_by_half=False, sample_weight=w)
    assert brier(scores, w[:, None])[0] == pytest.approx(summed, **EXACT)
    assert log_loss(scores, w[:, None])[0] == pytest.approx(sk.log_loss(y, p, labels=range(4), sample_weight=w), **EXACT)


def test_multilabel_brier_and_log_loss_are_the_mean_over_labels_of_what_is_known(make) -> None:
    rng = np.random.default_rng(0)
    p = rng.random((50, 3))
    target = (rng.random((50, 3)) < p).astype(float)
    target[rng.random((50, 3)) < 0.3] = np.nan
    scores, ones, known = make("multilabel", target, p), np.ones((50, 1)), ~np.isnan(target)
    for ours, theirs in ((brier, sk.brier_score_loss), (log_loss, sk.log_loss)):
        each = [theirs(target[known[:, k], k], p[known[:, k], k]) for k in range(3)]
        assert ours(scores, ones)[0] == pytest.approx(np.mean(each), **EXACT)


@KINDS
@pytest.mark.parametrize("bins", [2, 10, 15])
def test_equal_width_ece_equals_its_definition(make, kind, bins) -> None:
    y, p = generated(1, kind)
    expected, edges = 0.0, [k / bins for k in range(bins + 1)]
    for k in range(bins):
        inside = [i for i in range(60) if (edges[k] < p[i] or k == 0) and p[i] <= edges[k + 1]]
        if inside:
            expected += len(inside) / 60 * abs(np.mean(y[inside]) - np.mean(p[inside]))
    found = ece(make("binary", y, p), np.ones((60, 1)), bins=bins, binning="equal_width")
    assert found[0, 0] == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize(("p", "bin_"), [(0.0, 0), (1 / 15, 0), (np.nextafter(1 / 15, 1), 1), (0.6, 8), (1.0, 14)])
def test_equal_width_bins_are_closed_on_the_right_and_hold_0_and_1(p, bin_) -> None:
    assert bin_index(np.array([p]), 15, "equal_width").tolist() == [bin_]


def test_equal_mass_bins_are_equal_and_keep_equal_probabilities_together() -> None:
    assert np.bincount(bin_index(np.random.default_rng(0).random(100), 10, "equal_mass")).tolist() == [10] * 10
    assert bin_index(np.full(30, 0.4), 10, "equal_mass").tolist() == [0] * 30


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
def test_ece_does_not_depend_on_the_order_of_the_rows(make, binning) -> None:
    y, p = np.repeat([0.0, 1.0], 30), np.tile([0.2, 0.2, 0.7], 20)
    backwards = make("binary", y[::-1], p[::-1])
    found, again = (ece(s, np.ones((60, 1)), bins=10, binning=binning)[0, 0] for s in (make("binary", y, p), backwards))
    assert found == pytest.approx(again, **EXACT)


@pytest.mark.parametrize("name", ["p1", "p2"])
def test_ece_equals_r(make, refs, name) -> None:
    scores, tolerance = (
        make("binary", refs["data_synthetic"]["y"], refs["data_synthetic"][name]),
        refs["suggested_tolerance"]["ece"],
    )
    width = refs["results"]["ece_equal_width_right_closed"]
    mass = refs["results"]["ece_equal_mass_rank"]
    for bins, binning, expected in ((15, "equal_width", width[f"{name}_15_l1"]), (10, "equal_mass", mass[f"{name}_10_l1"])):
        found = ece(scores, np.ones((400, 1)), bins=bins, binning=binning)[0, 0]
        assert found == pytest.approx(expected, rel=0, abs=tolerance)


def test_ece_equals_published_examples(make, refs) -> None:
    published = refs["published"]
    example, trap, classwise = (published[k] for k in ("metrics_reloaded_ece", "torchmetrics_trap", "metrics_reloaded_classwise"))
    scores = make("binary", example["y"], example["p_positive"])
    for bins in (2, 5, 10):
        found = ece(scores, np.ones((10, 1)), bins=bins, binning="equal_width")[0, 0]
        assert found == pytest.approx(example["recomputed"][f"ece{bins}"], **EXACT)
    found = ece(make("binary", trap["y"], trap["p"]), np.ones((2, 1)), bins=trap["n_bins"], binning="equal_width")[0, 0]
    assert found == pytest.approx(trap["textbook_ece"], **EXACT)
    found = ece(make("multiclass", classwise["y"], classwise["P"]), np.ones((4, 1)), bins=classwise["bins"], binning="equal_width")
    assert found.mean() == pytest.approx(classwise["cwece"], **EXACT)


@pytest.mark.parametrize("name", ["p1", "p2", "p3"])
def test_slope_intercept_in_the_large_and_brier_equal_r(make, refs, name) -> None:
    scores, ones = make("binary", refs["data_synthetic"]["y"], refs["data_synthetic"][name]), np.ones((400, 1))
    cox, tolerance = refs["results"]["cox"][name], refs["suggested_tolerance"]
    intercept, slope = slope_intercept(scores, ones, 1)
    found = [intercept[0], slope[0], calibration_in_the_large(scores, ones, 1)[0]]
    assert found == pytest.approx([cox["intercept"], cox["slope"], cox["citl"]], rel=0, abs=tolerance["cox_coef"])
    assert brier(scores, ones)[0] == pytest.approx(refs["results"]["val_prob"][name]["Brier"], rel=0, abs=tolerance["brier"])


def test_multiclass_brier_and_log_loss_equal_r(make, refs) -> None:
    scores, expected = make("multiclass", refs["data_synthetic"]["yc"], refs["data_synthetic"]["P"]), refs["results"]["multiclass"]
    assert brier(scores, np.ones((300, 1)))[0] == pytest.approx(expected["brier_sum"], **EXACT)
    assert log_loss(scores, np.ones((300, 1)))[0] == pytest.approx(expected["logloss"], **EXACT)


@pytest.mark.parametrize("seed", range(8))
def test_weighted_slope_and_intercept_equal_scikit_learn(make, seed) -> None:
    y, p = generated(seed, "smooth")
    w = np.random.default_rng(seed).integers(0, 4, 60).astype(float)
    intercept, slope = slope_intercept(make("binary", y, p), w[:, None], 1)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(np.log(p / (1 - p))[:, None], y, sample_weight=w)
    assert [intercept[0], slope[0]] == pytest.approx([model.intercept_[0], model.coef_[0, 0]], abs=1e-5)


@pytest.mark.parametrize(
    ("y", "p"),
    [
        ([0, 0, 0], [0.1, 0.4, 0.5]),
        ([0, 1, 1, 0], [0.5] * 4),
        ([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9]),
        ([1, 1, 0], [0.1, 0.4, 0.7]),
        ([0, 0, 1], [0.0, 0.0, 1.0]),
    ],
    ids=["one class", "constant", "separated", "separated the wrong way", "certain"],
)
def test_a_slope_that_does_not_exist_is_undefined(make, y, p) -> None:
    assert np.isnan(slope_intercept(make("binary", y, p), np.ones((len(y), 1)), 1)).all()


@pytest.mark.parametrize("way", [1, -1])
def test_no_separated_sample_has_a_slope_however_it_is_spread(make, way) -> None:
    for seed in range(200):
        p = np.sort(np.random.default_rng(seed).random(24) ** 8)
        assert np.isnan(slope_intercept(make("binary", np.repeat([0, 1], 12)[::way], p), np.ones((24, 1)), 1)).all()


def test_a_replicate_without_a_fit_does_not_disturb_its_neighbours(make) -> None:
    y, p = generated(0, "smooth")
    both = np.stack([np.ones(60), y], axis=1)  # the second replicate drew positives only
    scores = make("binary", y, p)
    intercept, slope = slope_intercept(scores, both, 1)
    assert np.isnan([intercept[1], slope[1], calibration_in_the_large(scores, both, 1)[1]]).all()
    assert slope[0] == slope_intercept(scores, both[:, :1], 1)[1][0]


@pytest.mark.parametrize(("patients", "scans"), [(150, 1), (600, 1), (100, 4)])
def test_the_true_posterior_is_judged_calibrated_at_the_nominal_rate(make, patients, scans) -> None:
    verdicts = []
    for seed in range(400):
        y, p, patient = draw_phantom(patients, np.random.default_rng(seed), scans)
        verdicts.append(judge_calibration(make("binary", y, p, cluster=patient), 1, simulations=400, seed=seed).calibrated)
    assert np.mean(verdicts) >= 0.917  # nominal 0.95, less three standard errors of 400 draws


@pytest.mark.parametrize(("n", "slope", "power"), [(150, 0.6, 0.88), (300, 0.6, 0.98), (600, 0.6, 1.0), (150, 1.6, 0.88)])
def test_a_distorted_posterior_is_flagged(make, n, slope, power) -> None:
    """Measured power over 300 draws: 0.93 for slope 0.6 at n = 150, 1.00 at 300 and 600; 0.93 for slope 1.6 at 150."""
    flagged = []
    for seed in range(300):
        y, p, _ = draw_phantom(n, np.random.default_rng(seed))
        flagged.append(judge_calibration(make("binary", y, sharpened(p, slope)), 1, simulations=400, seed=seed).calibrated is False)
    assert np.mean(flagged) >= power


@pytest.mark.parametrize(("name", "calibrated"), [("p1", False), ("p2", True), ("p3", False)])
def test_the_verdict_agrees_with_the_tests_of_r_rms(make, refs, name, calibrated) -> None:
    theirs = refs["results"]["val_prob"][name]
    assert (min(theirs["U:p"], theirs["S:p"]) > 0.05) is calibrated
    assert judge_calibration(make("binary", refs["data_synthetic"]["y"], refs["data_synthetic"][name]), 1).calibrated is calibrated


def test_the_null_band_holds_the_ece_of_labels_drawn_from_the_probabilities(make) -> None:
    rng = np.random.default_rng(0)
    p = rng.random(200)
    verdict = judge_calibration(make("binary", rng.random(200) < p, p), 1)
    drawn = [
        ece(make("binary", rng.random(200) < p, p), np.ones((200, 1)), bins=15, binning="equal_width")[0, 0] for _ in range(1500)
    ]
    assert np.median(drawn) == pytest.approx(verdict.ece_null_median, rel=0.05)
    assert np.quantile(drawn, 0.975) == pytest.approx(verdict.ece_null_high, rel=0.05)


def test_repeated_scans_widen_the_null_band(make) -> None:
    y, p, patient = draw_phantom(100, np.random.default_rng(0), scans=4)
    once, repeated = (judge_calibration(make("binary", y, p, cluster=c), 1) for c in (None, patient))
    assert repeated.ece == once.ece
    assert repeated.ece_null_high > 1.5 * once.ece_null_high


def test_what_is_impossible_under_the_probabilities_is_flagged(make) -> None:
    assert judge_calibration(make("binary", [1] * 5, [0.0] * 5), 1).calibrated is False
    assert judge_calibration(make("binary", [0, 1] * 5, [0.0, 1.0] * 5), 1).calibrated is True


def test_constant_probabilities_are_judged_by_their_level(make) -> None:
    y = np.repeat([0, 1], [70, 30])
    assert judge_calibration(make("binary", y, np.full(100, 0.3)), 1).calibrated is True
    assert judge_calibration(make("binary", y, np.full(100, 0.5)), 1).calibrated is False


def test_a_label_nobody_knows_is_not_judged(make) -> None:
    scores = make("multilabel", np.full((4, 1), np.nan), np.full((4, 1), 0.5))
    verdict = judge_calibration(scores, 0)
    assert (verdict.calibrated, verdict.p_value) == (None, None)
    assert reliability(scores, 0) == []


def test_the_same_seed_gives_the_same_verdict(make) -> None:
    y, p = generated(3, "smooth")
    first, again, other = (judge_calibration(make("binary", y, p), 1, seed=s) for s in (1, 1, 2))
    assert first == again != other


def test_reliability_intervals_are_wilsons_as_in_r(make, refs) -> None:
    for case in refs["results"]["prop_ci"]:
        y = np.arange(case["n"]) < case["x"]
        (found,) = reliability(make("binary", y, np.full(case["n"], 0.5)), 1)
        assert found.count == case["n"]
        assert [found.low, found.high] == pytest.approx(case["wilson"], abs=refs["suggested_tolerance"]["prop_ci"])


def test_reliability_bins_cover_every_sample_once(make) -> None:
    y, p, _ = draw_phantom(200, np.random.default_rng(0))
    bins = reliability(make("binary", y, p), 1)
    assert [b.predicted for b in bins] == pytest.approx(sorted(set(p)))
    assert [b.count for b in bins] == [int((p == v).sum()) for v in sorted(set(p))]
    assert [b.observed for b in bins] == pytest.approx([y[p == v].mean() for v in sorted(set(p))])
