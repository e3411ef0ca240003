"""Intervals of a share of independent samples, without resampling."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, ndtri

from medmm.metrics.intervals import Interval


def wilson_interval(hits: float, n: float, level: float = 0.95) -> Interval:
    """Score interval (Wilson 1927), for many bins and everyday use.

    Args:
        hits: Successes.
        n: Samples, at least one.
        level: Of the interval.
    """
    z = float(ndtri((1 + level) / 2))
    middle, reach = hits + z**2 / 2, z * float(np.sqrt(hits * (n - hits) / n + z**2 / 4))
    low, high = (middle - reach) / (n + z**2), (middle + reach) / (n + z**2)
    return (0.0 if hits == 0 else low), (1.0 if hits == n else high)


def clopper_pearson_interval(hits: float, n: float, level: float = 0.95) -> Interval:
    """Exact interval (Clopper & Pearson 1934), never below its level and so for few samples.

    Args:
        hits: Successes.
        n: Samples, at least one.
        level: Of the interval.
    """
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return low, high
