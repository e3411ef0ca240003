"""Random-effects meta-analysis: how much a measure differs between hospitals, and what to expect at a new one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from medmm.types import FloatArray


@dataclass(frozen=True, slots=True)
class RandomEffects:
    """Summary of k effects.

    Attributes:
        mean, low, high: Over sites, with the 95 % interval of Hartung, Knapp, Sidik and Jonkman.
        tau: Standard deviation between sites (Paule & Mandel 1982).
        prediction: 95 % prediction interval of a new site (Higgins et al. 2009); None for fewer than three sites.
    """

    mean: float
    low: float
    high: float
    tau: float
    prediction: tuple[float, float] | None


def random_effects(effects: FloatArray, variances: FloatArray, level: float = 0.95) -> RandomEffects:
    """Combine the effects of sites.

    Args:
        effects: (k,) one a site, at least two.
        variances: (k,) of each effect, positive.
        level: Of both intervals.
    """
    k = len(effects)
    tau2 = _paule_mandel(effects, variances)
    weights = 1 / (variances + tau2)
    mean = float(weights @ effects / weights.sum())
    error = np.sqrt(weights @ (effects - mean) ** 2 / ((k - 1) * weights.sum()))
    reach = error * stats.t.ppf((1 + level) / 2, k - 1)
    prediction = None
    if k > 2:
        spread = np.sqrt(tau2 + 1 / weights.sum()) * stats.t.ppf((1 + level) / 2, k - 2)
        prediction = (mean - float(spread), mean + float(spread))
    return RandomEffects(mean, mean - float(reach), mean + float(reach), float(np.sqrt(tau2)), prediction)


def _paule_mandel(effects: FloatArray, variances: FloatArray) -> float:
    """The variance between sites at which the weighted sum of squares is what chance alone would make it."""

    def excess(tau2: float) -> float:
        weights = 1 / (variances + tau2)
        mean = weights @ effects / weights.sum()
        return float(weights @ (effects - mean) ** 2) - (len(effects) - 1)

    if excess(0.0) <= 0:
        return 0.0
    highest = float(np.ptp(effects)) ** 2 + 1.0
    while excess(highest) > 0:
        highest *= 4
    return float(optimize.brentq(excess, 0.0, highest, xtol=1e-14))
