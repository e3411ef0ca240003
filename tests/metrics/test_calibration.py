"""The verdict against samples whose truth is known, and the classical tests against R."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.metrics import point
from medmm.metrics.calibration import classical_tests, judge_calibration, judge_labels
from medmm.sources.phantom.truth import ARMS, Table
from medmm.types import FloatArray


def sharpened(p: FloatArray, slope: float) -> FloatArray:
    """The probabilities with their logits multiplied; below 1 too timid, above 1 too confident."""
    return 1 / (1 + np.exp(-slope * np.log(p / (1 - p))))


def draw_phantom(patients: int, rng: np.random.Generator, scans: int = 1) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Labels, true posteriors and patients of a sample from the phantom's law, the same label for all scans of a patient."""
    law = Table(((0.05, 0.15), (0.15, 0.95)))  # noisier than the default, so that errors are harder to see
    p = rng.choice(law.posterior(ARMS[0]).ravel(), size=patients, p=law.cells.ravel())
    y = (rng.random(patients) < p).astype(float)
    return np.repeat(y, scans), np.repeat(p, scans), np.repeat(np.arange(patients), scans)


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


def test_the_null_band_of_the_verdict_holds_the_ece_of_labels_drawn_from_the_probabilities(make) -> None:
    rng = np.random.default_rng(0)
    p = rng.random(200)
    verdict = judge_calibration(make("binary", rng.random(200) < p, p), 1)
    drawn = [point("ece[equal_width,15]", make("binary", rng.random(200) < p, p)) for _ in range(1500)]
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


def test_the_same_seed_gives_the_same_verdict(make, generated) -> None:
    y, p = generated(3, "smooth")
    first, again, other = (judge_calibration(make("binary", y, p), 1, seed=s) for s in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("name", ["p1", "p2"])
def test_classical_tests_equal_r(reference, refs, name) -> None:
    found = {t.name: t for t in classical_tests(reference(name), 1)}
    theirs, groups = refs["results"]["val_prob"][name], refs["results"]["hosmer_lemeshow"][name]
    spiegelhalter, hosmer, ratio = (found[n] for n in ("spiegelhalter", "hosmer_lemeshow[10]", "unreliability"))
    assert [spiegelhalter.statistic, spiegelhalter.p_value] == pytest.approx([theirs["S:z"], theirs["S:p"]], rel=1e-8)
    assert [hosmer.statistic, hosmer.degrees, hosmer.p_value] == pytest.approx(
        [groups[k] for k in ("chi2", "df_ext", "p_ext")], rel=1e-8
    )
    assert [ratio.statistic, ratio.degrees, ratio.p_value] == pytest.approx([theirs["U:Chi-sq"], 2, theirs["U:p"]], rel=1e-6)


def test_classical_tests_that_do_not_exist_are_left_out(make) -> None:
    assert [t.name for t in classical_tests(make("binary", [1, 1, 1], [0.5, 0.7, 0.9]), 1)] == [
        "spiegelhalter",
        "hosmer_lemeshow[10]",
    ]
    assert classical_tests(make("binary", [1, 0], [0.0, 1.0]), 1) == ()
    assert classical_tests(make("multilabel", np.full((4, 1), np.nan), np.full((4, 1), 0.5)), 0) == ()


def test_tests_of_independence_mislead_where_scans_repeat_and_the_verdict_does_not(make) -> None:
    """Four scans of each patient with one label: Spiegelhalter's test cries wolf in a third of the samples."""
    alarms = []
    for seed in range(200):
        y, p, patient = draw_phantom(100, np.random.default_rng(seed), scans=4)
        scores = make("binary", y, p, cluster=patient)
        alarms.append(
            [
                classical_tests(scores, 1)[0].p_value < 0.05,
                judge_calibration(scores, 1, simulations=200, seed=seed).calibrated is False,
            ]
        )
    classical, ours = np.mean(alarms, axis=0)
    assert classical > 0.2
    assert ours < 0.1


def test_of_many_perfect_labels_none_is_found_miscalibrated_at_the_nominal_rate(make) -> None:
    """Ten perfect labels: one of them fails alone in four samples of ten, after correction in one of twenty."""
    alone, together = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        p = rng.beta(1, 4, size=(200, 10))
        scores = make("multilabel", (rng.random(p.shape) < p).astype(float), p)
        alone.append(any(judge_calibration(scores, k, simulations=200).calibrated is False for k in range(10)))
        together.append(any(v.calibrated is False for v in judge_labels(scores, simulations=200)))
    assert np.mean(alone) > 0.25
    assert np.mean(together) <= 0.14  # nominal 0.05, and three standard errors of 60 samples


def test_one_wrong_label_among_many_is_still_found_and_one_without_labels_stays_open(make) -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(1, 2, size=(400, 10))
    target = (rng.random(p.shape) < p).astype(float)
    p[:, 3] = sharpened(p[:, 3], 2.5)
    target[:, 5] = np.nan
    found = [v.calibrated for v in judge_labels(make("multilabel", target, p))]
    assert found[3] is False
    assert found[5] is None
    assert sum(v is False for v in found) == 1
