"""Net benefit, against R and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.metrics import point
from medmm.metrics.decision_curve import THRESHOLDS, NetBenefit, net_benefit_curve


@pytest.mark.parametrize("name", ["p1", "p2"])
def test_net_benefit_equals_r(reference, refs, name) -> None:
    expected = refs["results"]["net_benefit"]
    scores, thresholds = reference(name), expected["thresholds"]
    found = NetBenefit(tuple(thresholds)).batch(scores, np.ones((400, 1)))[: len(thresholds), 0]
    assert found == pytest.approx(expected[name], abs=1e-12)
    curve = {round(t, 2): (model, everybody) for t, model, everybody in net_benefit_curve(scores, 1)}
    assert [curve[t] for t in thresholds] == [
        pytest.approx(pair) for pair in zip(expected[name], expected["treat_all"], strict=True)
    ]


def test_interventions_avoided_by_hand(make) -> None:
    """At 0.2 one of four false positives is worth a quarter of a true one; two negatives are spared of 4 samples."""
    scores = make("binary", [1, 0, 0, 0], [0.9, 0.1, 0.15, 0.2])
    assert point("net_benefit[0.2]", scores) == pytest.approx(1 / 4 - 1 / 4 * 0.25)
    assert point("interventions_avoided[0.2]", scores) == pytest.approx(50)


def test_a_probability_at_the_threshold_is_treated(make) -> None:
    scores = make("binary", [1, 0], [0.5, 0.1])
    assert point("net_benefit[0.5]", scores) == 0.5


def test_the_order_of_thresholds_does_not_matter(reference) -> None:
    rising, falling = (NetBenefit(t).batch(reference("p3"), np.ones((400, 1)))[:, 0] for t in ((0.1, 0.3, 0.5), (0.5, 0.3, 0.1)))
    assert np.r_[rising[:3][::-1], rising[3:][::-1]] == pytest.approx(falling, abs=0)


def test_every_label_has_its_own_curve_without_the_unknown(make) -> None:
    target = np.array([[1, np.nan], [0, np.nan], [1, np.nan]])
    scores = make("multilabel", target, np.array([[0.9, 0.5], [0.3, 0.5], [0.4, 0.5]]))
    assert point("net_benefit[a,0.5]", scores) == pytest.approx(1 / 3)
    assert all(np.isnan(point(f"net_benefit[b,{t:g}]", scores)) for t in THRESHOLDS)
    assert len(net_benefit_curve(scores, 0)) == 99
    assert net_benefit_curve(scores, 1) == ()
