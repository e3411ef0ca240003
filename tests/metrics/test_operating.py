"""Held against R's pROC and scikit-learn's ROC curves, weighted, with ties."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from medmm.metrics import catalogue, evaluate, point
from medmm.metrics.operating import Demand, operating_points

NAMES = (
    "sensitivity_at_specificity[0.9]", "sensitivity_at_specificity[0.95]",
    "specificity_at_sensitivity[0.9]", "specificity_at_sensitivity[0.95]", "partial_auroc[specificity,0.9,1]",
)  # fmt: skip


def expected(y, p, w) -> list[float]:
    """From scikit-learn's curve."""
    fpr, tpr, _ = sk.roc_curve(y, p, sample_weight=w, drop_intermediate=False)
    found = [tpr[1 - fpr >= s - 1e-12].max() for s in (0.9, 0.95)] + [(1 - fpr)[tpr >= s - 1e-12].max() for s in (0.9, 0.95)]
    standardised = sk.roc_auc_score(y, p, sample_weight=w, max_fpr=0.1)
    return [*found, (2 * standardised - 1) * (0.1 - 0.005) + 0.005]  # McClish's standardisation undone


@pytest.mark.parametrize("decimals", [1, 2, 16])
@pytest.mark.parametrize("seed", range(10))
def test_points_of_the_curve_equal_scikit_learn(make, seed, decimals) -> None:
    rng = np.random.default_rng(seed)
    y = (rng.random(130) < 0.3).astype(float)
    p = (0.3 * y + 0.7 * rng.random(130)).round(decimals)
    w = rng.integers(0, 4, (130, 6))
    found = evaluate(make("binary", y, p), w, NAMES)
    for r in range(6):
        assert [found[name][r] for name in NAMES] == pytest.approx(expected(y, p, w[:, r]), rel=0, abs=1e-12)


@pytest.mark.parametrize(("name", "column"), [("p1", "p1"), ("p2", "p2"), ("p3_ties", "p3")])
def test_the_partial_area_equals_r_proc(make, refs, inference_refs, name, column) -> None:
    found = point(NAMES[-1], make("binary", refs["data_synthetic"]["y"], refs["data_synthetic"][column]))
    assert found == pytest.approx(inference_refs["roc"][name]["partial_auc_spec_1_to_0.9"], rel=0, abs=1e-12)


def test_a_share_that_is_met_exactly_is_met(make) -> None:
    """One false alarm of ten is a specificity of 0.9, whatever 1 - 0.9 is in binary."""
    scores = make("binary", [1, 0, 1, *[0] * 9], np.linspace(0.9, 0.1, 12))
    assert point(NAMES[0], scores) == 1.0
    assert point(NAMES[1], scores) == 0.5
    assert point(NAMES[2], scores) == 0.9


def test_a_perfect_order_reaches_everything_and_one_class_nothing(make) -> None:
    perfect = evaluate(make("binary", [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]), np.ones((4, 1)), NAMES)
    assert [perfect[name][0] for name in NAMES] == pytest.approx([1, 1, 1, 1, 0.1])
    for y in ([0, 0, 0], [1, 1, 1]):
        scores = make("binary", y, [0.1, 0.2, 0.3])
        assert all(np.isnan(point(name, scores)) for name in NAMES)


def test_other_demands_have_other_names(make) -> None:
    scores = make("multilabel", np.eye(3)[[0, 1, 2, 1]], np.random.default_rng(0).random((4, 3)))
    names = [m.name for m in operating_points(Demand((0.8,), 0.5)).metrics(scores)]
    assert {"sensitivity_at_specificity_macro[0.8]", "partial_auroc[c,specificity,0.5,1]"} <= set(names)
    assert set(names).isdisjoint(m.name for _, family in catalogue(scores) for m in family)
