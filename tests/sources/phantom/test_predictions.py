"""The simulator tells the truth about itself, and the measures here find it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from medmm.metrics import Scores, decide, point
from medmm.metrics.calibration import judge_calibration
from medmm.sources.phantom.predictions import PREVALENCE, SITES, SimulatedModel, true_auroc

LABELS = tuple(PREVALENCE)


def arrays(rows):
    target = np.array([[row[f"label__{name}"] for name in LABELS] for row in rows], float)
    return target, np.array([[row[f"p__{name}"] for name in LABELS] for row in rows])


@pytest.fixture(scope="module")
def rows():
    return list(SimulatedModel().rows(4000, 1))


def test_findings_are_as_frequent_as_stated_and_probabilities_exactly_right(rows) -> None:
    target, p = arrays(rows)
    n = len(rows)
    for k, share in enumerate(PREVALENCE.values()):
        assert target[:, k].mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / n))
        for group in np.array_split(np.argsort(p[:, k]), 5):
            expected, error = p[group, k].mean(), np.sqrt((p[group, k] * (1 - p[group, k])).sum()) / len(group)
            assert target[group, k].mean() == pytest.approx(expected, abs=4.5 * error + 1e-9)


def test_the_auroc_of_every_finding_is_the_integral(rows) -> None:
    target, p = arrays(rows)
    for k, name in enumerate(LABELS):
        positives, truth = target[:, k].sum(), true_auroc(name)
        assert 0.7 < truth < 0.95
        assert roc_auc_score(target[:, k], p[:, k]) == pytest.approx(truth, abs=4 * np.sqrt(truth * (1 - truth) / positives))


def test_scans_without_text_and_of_the_harder_site_are_worse_by_as_much_as_is_known(rows) -> None:
    assert true_auroc("lung_nodule", "image") < true_auroc("lung_nodule", "image+text")
    assert true_auroc("lung_nodule", site="C") < true_auroc("lung_nodule", site="A") - 0.05
    for site in SITES:
        some = [row for row in rows if row["site"] == site]
        found = roc_auc_score(*(np.array([row[f"{kind}__lung_nodule"] for row in some]) for kind in ("label", "p")))
        assert found == pytest.approx(true_auroc("lung_nodule", site=site), abs=4 * 0.5 / np.sqrt(len(some)))


def test_a_patients_scans_are_alike_and_a_seed_gives_the_same_rows() -> None:
    rows = list(SimulatedModel(seed=3).rows(300, 2))
    logits = np.array([row["logit__lung_opacity"] for row in rows]).reshape(-1, 2)
    assert 0.25 < np.corrcoef(logits.T)[0, 1] < 0.75
    assert rows == list(SimulatedModel(seed=3).rows(300, 2))
    assert rows != list(SimulatedModel(seed=4).rows(300, 2))


@pytest.mark.parametrize("slope", [1.0, 0.6])
def test_right_probabilities_are_called_right_and_too_extreme_ones_are_flagged(slope: float) -> None:
    target, p = arrays(list(SimulatedModel(slope, seed=1).rows(2000, 1)))
    scores = Scores("multilabel", LABELS, target, p, decide("multilabel", p, np.full(18, 0.5)), np.arange(len(p)))
    chosen = [0, 3, 9, 10, 13]  # rare and common ones
    calibrated = [judge_calibration(scores, k, seed=0).calibrated for k in chosen]
    assert sum(map(bool, calibrated)) >= 4 if slope == 1 else not any(calibrated)
    for k in chosen:
        assert point(f"cal_slope[{LABELS[k]}]", scores) == pytest.approx(slope, abs=0.35 * slope)


def test_saying_no_to_everything_has_the_weighted_f1_that_fools_people(rows) -> None:
    target, _ = arrays(rows)
    never = np.zeros(len(rows))
    reached = np.mean([f1_score(target[:, k], never, average="weighted", zero_division=0) for k in range(18)])
    shares = np.array(list(PREVALENCE.values()))
    assert np.mean(2 * (1 - shares) ** 2 / (2 - shares)) == pytest.approx(0.746, abs=0.0005)
    assert reached == pytest.approx(0.746, abs=0.005)
    assert np.mean([f1_score(target[:, k], never, zero_division=0) for k in range(18)]) == 0
