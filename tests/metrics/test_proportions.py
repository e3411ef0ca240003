"""Held against R, statsmodels and what the exact interval promises."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from medmm.metrics.proportions import clopper_pearson_interval, wilson_interval


def test_intervals_equal_r(inference_refs) -> None:
    for case in inference_refs["proportions"]:
        for name, interval in (("wilson", wilson_interval), ("clopper_pearson", clopper_pearson_interval)):
            found = interval(case["x"], case["n"])
            assert found == pytest.approx(case[name], rel=0, abs=inference_refs["suggested_tolerance"]["prop_ci"]), (name, case)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_intervals_equal_statsmodels(level) -> None:
    for hits, n in [(0, 1), (1, 1), (0, 7), (3, 7), (7, 7), (500, 20_000)]:
        alpha = 1 - level
        assert wilson_interval(hits, n, level) == pytest.approx(proportion_confint(hits, n, alpha, "wilson"), abs=1e-12)
        assert clopper_pearson_interval(hits, n, level) == pytest.approx(proportion_confint(hits, n, alpha, "beta"), abs=1e-10)


def test_the_exact_interval_never_covers_less_than_it_says() -> None:
    held = [clopper_pearson_interval(hits, 12) for hits in range(13)]
    for share in np.linspace(0.01, 0.99, 99):
        assert sum(binom.pmf(hits, 12, share) for hits, (low, high) in enumerate(held) if low <= share <= high) >= 0.95 - 1e-12


def test_exact_intervals_equal_those_of_a_table_in_r_epir(inference_refs, refs) -> None:
    table = refs["results"]["epi_tests_p1_thr0.5"]
    for name, hits, others in (("se", "tp", "fn"), ("sp", "tn", "fp"), ("pv.pos", "tp", "fp"), ("pv.neg", "tn", "fn")):
        found = clopper_pearson_interval(table[hits], table[hits] + table[others])
        assert found == pytest.approx(inference_refs["table_p1_at_0.5"][name][1:], rel=0, abs=1e-8)
