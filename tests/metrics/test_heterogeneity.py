"""Against statsmodels, and what must hold of any meta-analysis."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from medmm.metrics.heterogeneity import random_effects


def excess(effects, variances, tau2) -> float:
    """Cochran's Q at this variance between sites, less what chance would make it (Paule & Mandel: zero)."""
    weights = 1 / (variances + tau2)
    return weights @ (effects - weights @ effects / weights.sum()) ** 2 - (len(effects) - 1)


@pytest.mark.parametrize("k", [2, 3, 7, 20])
def test_mean_interval_and_spread_are_those_of_statsmodels(k) -> None:
    compared = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        variances = rng.uniform(0.01, 0.1, k)
        effects = 1.5 + rng.normal(0, 0.5, k) + rng.normal(0, np.sqrt(variances))
        found = random_effects(effects, variances)
        assert abs(excess(effects, variances, found.tau**2)) < 1e-9 or (found.tau == 0 and excess(effects, variances, 0) <= 0)
        peer = combine_effects(effects, variances, method_re="iterated", use_t=True, maxiter=1000, atol=1e-12)
        if peer.tau2 == 0 < found.tau:  # its iteration falls to the border now and then, where its own equation does not hold
            continue
        compared += 1
        error = peer.sd_eff_w_re_hksj * stats.t.ppf(0.975, k - 1)
        assert found.tau**2 == pytest.approx(peer.tau2, abs=1e-6)
        assert [found.mean, found.low, found.high] == pytest.approx(
            [peer.mean_effect_re, peer.mean_effect_re - error, peer.mean_effect_re + error], abs=1e-6
        )
    assert compared >= 6


def test_sites_that_agree_have_no_spread() -> None:
    found = random_effects(np.array([0.8, 0.8, 0.8]), np.array([0.01, 0.02, 0.04]))
    assert (found.mean, found.tau, found.low, found.high) == (pytest.approx(0.8), 0, pytest.approx(0.8), pytest.approx(0.8))


def test_a_new_site_is_predicted_from_three_on_and_covers_sites_of_known_spread() -> None:
    assert random_effects(np.array([0.0, 1.0]), np.array([0.1, 0.1])).prediction is None
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        sites, variances = rng.normal(0, 0.5, 12), np.full(12, 0.02)
        low, high = random_effects(sites + rng.normal(0, np.sqrt(variances)), variances).prediction
        inside += low < rng.normal(0, 0.5) < high
    assert 0.92 < inside / 400 < 0.98
