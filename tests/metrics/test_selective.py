"""Areas under risk-coverage curves, by hand, by averaging over orders, and by an identity with AUROC."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medmm.metrics import point
from medmm.metrics.selective import risk_coverage

EXACT = {"rel": 0, "abs": 1e-12}


def by_orders(right, confidence) -> tuple[float, float]:
    """AURC and AUGRC averaged over every order that keeps the more confident first."""
    n, found = len(right), []
    for order in permutations(range(n)):
        if all(confidence[a] >= confidence[b] for a, b in pairwise(order)):
            errors = np.cumsum([not right[i] for i in order])
            generalised = np.r_[0, errors] / n
            found.append((np.mean(errors / np.arange(1, n + 1)), (generalised[1:] + generalised[:-1]).mean() / 2))
    return tuple(np.mean(found, axis=0))


def test_areas_of_four_samples_by_hand(make) -> None:
    scores = make("binary", [1, 0, 1, 0], [0.9, 0.8, 0.3, 0.4])  # confidence 0.9, 0.8, 0.7, 0.6; right, wrong, wrong, right
    assert point("aurc", scores) == pytest.approx(np.mean([0, 1 / 2, 2 / 3, 2 / 4]), **EXACT)
    best = np.mean([0, 0, 1 / 3, 2 / 4])
    assert point("e_aurc", scores) == pytest.approx(point("aurc", scores) - best, **EXACT)
    assert point("augrc", scores) == pytest.approx(np.mean([0, 0.5, 1.5, 2]) / 4, **EXACT)
    assert risk_coverage(scores) == ((0.25, 0.0), (0.5, 0.5), (0.75, pytest.approx(2 / 3)), (1.0, 0.5))


@pytest.mark.parametrize("seed", range(6))
def test_ties_count_as_the_mean_over_all_their_orders(make, seed) -> None:
    rng = np.random.default_rng(seed)
    y, p = rng.integers(0, 2, 7), rng.choice([0.2, 0.5, 0.8], 7)
    scores = make("binary", y, p)
    aurc, augrc = by_orders((p >= 0.5) == y, np.maximum(p, 1 - p))
    assert [point("aurc", scores), point("augrc", scores)] == pytest.approx([aurc, augrc], **EXACT)


@pytest.mark.parametrize("kind", ["smooth", "ties", "certain"])
def test_augrc_follows_from_the_auroc_of_failures(make, generated, kind) -> None:
    """Traub et al. 2024: accuracy a, then (1 - AUROC) a (1 - a) + (1 - a)^2 / 2."""
    y, p = generated(5, kind)
    right, confidence = (p >= 0.5) == (y == 1), np.where(p >= 0.5, p, 1 - p)
    a = right.mean()
    expected = (1 - roc_auc_score(right, confidence)) * a * (1 - a) + (1 - a) ** 2 / 2
    assert point("augrc", make("binary", y, p)) == pytest.approx(expected, **EXACT)


def test_confidence_is_that_in_what_was_called(make) -> None:
    """At a threshold of 0.2 a call at 0.3 is an unsure yes, not a sure no."""
    called = np.array([[False, True], [True, False]])
    scores = make("binary", [0, 0], [0.3, 0.1], called=called)
    assert risk_coverage(scores) == ((0.5, 0.0), (1.0, 0.5))


def test_confidences_that_differ_by_rounding_alone_are_ties(make) -> None:
    scores = make("binary", [1, 1], [0.9, 0.1])  # 1 - 0.1 is a little more than 0.9 is
    assert point("aurc", scores) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_nothing_wrong_has_no_risk_and_all_wrong_has_all(make) -> None:
    names = ("aurc", "e_aurc", "augrc")
    assert [point(n, make("binary", [1, 0, 1], [0.9, 0.2, 0.7])) for n in names] == [0, 0, 0]
    assert [point(n, make("binary", [0, 1, 0], [0.9, 0.2, 0.7])) for n in names] == pytest.approx([1, 0, 0.5])


def test_labels_are_taken_one_by_one_without_the_unknown(make) -> None:
    target = np.array([[1, np.nan], [0, 1], [1, np.nan], [0, 0]])
    p = np.array([[0.9, 0.9], [0.8, 0.2], [0.3, 0.9], [0.4, 0.6]])
    scores = make("multilabel", target, p)
    alone = make("binary", [1, 0, 1, 0], [0.9, 0.8, 0.3, 0.4])
    assert point("aurc[a]", scores) == point("aurc", alone)
    assert point("aurc[b]", scores) == 1
    assert point("aurc_macro", scores) == pytest.approx((point("aurc", alone) + 1) / 2)
    assert risk_coverage(scores)[-1] == (1.0, pytest.approx(4 / 6))


def test_a_curve_has_at_most_so_many_points_and_ends_at_everything(make) -> None:
    p = np.random.default_rng(0).random(1000)
    curve = risk_coverage(make("binary", p > 0.4, p), points=50)
    assert len(curve) == 50
    assert curve[-1][0] == 1
