"""The table that `rms::val.prob` prints in R, number by number, for comparison with papers that quote it (Harrell 2015)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from medmm.metrics.column import column
from medmm.metrics.cox import log_likelihood, slope_intercept, spiegelhalter_z
from medmm.metrics.delong import delong
from medmm.metrics.lowess import lowess
from medmm.metrics.scores import Scores

_GRID = 5000


class ValProb(NamedTuple):
    """One label's table; samples are taken as independent.

    Attributes:
        dxy: Somers' rank correlation, 2 (c - 1/2).
        c: AUROC of the probabilities cut down to multiples of 0.0002, as rms does to save time; ours is `auroc`.
        r2: Nagelkerke's (1991), of the probabilities as they are.
        d, d_chi2: Discrimination (likelihood-ratio chi-square over the class frequency - 1) / n, and that chi-square.
        u, u_chi2, u_p: Unreliability (likelihood-ratio chi-square of intercept 0 and slope 1 - 2) / n, that chi-square, its p.
        q: Quality, d - u.
        brier: Brier score.
        intercept, slope: Of the calibration regression.
        emax, e90, eavg: Distances of the lowess curve from the diagonal; here it may leave 0 to 1.
        s_z, s_p: Spiegelhalter's (1986) test.
    """

    dxy: float
    c: float
    r2: float
    d: float
    d_chi2: float
    u: float
    u_chi2: float
    u_p: float
    q: float
    brier: float
    intercept: float
    slope: float
    emax: float
    e90: float
    eavg: float
    s_z: float
    s_p: float


def val_prob(scores: Scores, index: int) -> ValProb | None:
    """One label's table; None where the calibration regression does not exist.

    Args:
        scores: What to measure.
        index: Label.
    """
    label, ones = column(scores, index), np.ones((len(scores), 1))
    intercept, slope = (float(v[0]) for v in slope_intercept(label, ones))
    if not np.isfinite(slope):
        return None
    y, p, n = label.y, label.p, len(label.p)
    given, null = log_likelihood(label, 0.0, 1.0), n * float(np.log([1 - y.mean(), y.mean()]) @ [1 - y.mean(), y.mean()])
    gain, miss = 2 * (given - null), 2 * (log_likelihood(label, intercept, slope) - given)
    c = float(delong(y, np.floor(p * _GRID)[:, None]).area[0])
    d, u = (gain - 1) / n, (miss - 2) / n
    x, curve = lowess(p, y, np.ones(n))
    off = np.abs(curve[np.searchsorted(x, p)] - p)
    z = float(spiegelhalter_z(label, ones)[0])
    return ValProb(
        dxy=2 * (c - 0.5),
        c=c,
        r2=float((1 - np.exp(-gain / n)) / (1 - np.exp(2 * null / n))),
        d=d,
        d_chi2=gain,
        u=u,
        u_chi2=miss,
        u_p=float(stats.chi2.sf(miss, 2)),
        q=d - u,
        brier=float(np.mean((p - y) ** 2)),
        intercept=intercept,
        slope=slope,
        emax=float(off.max()),
        e90=float(np.quantile(off, 0.9)),
        eavg=float(off.mean()),
        s_z=z,
        s_p=float(2 * stats.norm.sf(abs(z))),
    )
