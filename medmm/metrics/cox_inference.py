"""What Cox's calibration regression says with which certainty, on independent samples, without resampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit

from medmm.metrics.column import Column, column
from medmm.metrics.cox import in_the_large, log_likelihood, slope_intercept
from medmm.metrics.intervals import Interval
from medmm.metrics.scores import Scores

_DOUBLINGS = 60


class Coefficient(NamedTuple):
    """One coefficient of a logistic regression.

    Attributes:
        estimate: Of maximum likelihood.
        error: Standard error, from the information at the estimate.
        wald: Interval of the normal law.
        profile: Interval of the values that a likelihood-ratio test does not reject; the better one on few samples.
    """

    estimate: float
    error: float
    wald: Interval
    profile: Interval


class CoxInference(NamedTuple):
    """Slope and intercept fitted together, and calibration in the large, the intercept at slope 1 (Cox 1958).

    Attributes:
        slope: 1 if calibrated.
        intercept: Its estimate, 0 if calibrated, and standard error.
        in_the_large: 0 if calibrated.
        ratio: Likelihood-ratio chi-square of intercept 0 and slope 1, of 2 degrees of freedom.
        p_value: Of that.
    """

    slope: Coefficient
    intercept: tuple[float, float]
    in_the_large: Coefficient
    ratio: float
    p_value: float


def cox_inference(scores: Scores, index: int, level: float = 0.95) -> CoxInference | None:
    """Intervals and test of one label's calibration by regression; None where the fit does not exist.

    They take samples as independent; with several samples a patient use the bootstrap by patients instead.

    Args:
        scores: What to judge.
        index: Label.
        level: Of the intervals.
    """
    label, ones = column(scores, index), np.ones((len(scores), 1))
    intercept, slope = (float(v[0]) for v in slope_intercept(label, ones))
    if not np.isfinite(slope):
        return None
    shift = float(in_the_large(label, ones)[0])
    covariance = np.linalg.inv(_information(label, intercept, slope))
    errors = np.sqrt(np.diag(covariance))
    ratio = 2 * (log_likelihood(label, intercept, slope) - log_likelihood(label, 0.0, 1.0))
    return CoxInference(
        _coefficient(slope, float(errors[1]), lambda b: log_likelihood(label, _best_intercept(label, b), b), level),
        (intercept, float(errors[0])),
        _coefficient(shift, float(_information(label, shift, 1.0)[0, 0] ** -0.5), lambda a: log_likelihood(label, a, 1.0), level),
        ratio,
        float(stats.chi2.sf(ratio, 2)),
    )


def _coefficient(estimate: float, error: float, profile: Callable[[float], float], level: float) -> Coefficient:
    reach = float(stats.norm.ppf((1 + level) / 2)) * error
    lowest = profile(estimate) - stats.chi2.ppf(level, 1) / 2

    def bound(step: float) -> float:
        """Where the profile falls to the lowest likelihood that is kept, on the side of the step."""
        far = step
        for _ in range(_DOUBLINGS):
            if profile(estimate + far) < lowest:
                break
            far *= 2
        return float(brentq(lambda value: profile(value) - lowest, *sorted((estimate, estimate + far)), xtol=1e-12))

    return Coefficient(estimate, error, (estimate - reach, estimate + reach), (bound(-reach), bound(reach)))


def _best_intercept(label: Column, slope: float) -> float:
    """The intercept that fits best at a slope: there, as many positives are expected as were seen."""
    z = slope * label.log_odds
    far = float(np.abs(z).max()) + np.log(2 * len(z))
    return float(brentq(lambda a: float((expit(a + z) - label.y).sum()), -far, far, xtol=1e-13))


def _information(label: Column, intercept: float, slope: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    p = expit(intercept + slope * label.log_odds)
    design = np.stack([np.ones_like(p), label.log_odds])
    return np.asarray((design * (p * (1 - p))) @ design.T)
