"""How far probabilities can be believed: proper scores, calibration errors, slope, and a verdict.

Functions of (`Scores`, weights) follow the contract of `medmm.metrics.classification`. Estimators
carry their parameters in the name they are reported under.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from medmm.metrics.scores import Scores, one_hot
from medmm.types import FloatArray, IntArray

Binning = Literal["equal_width", "equal_mass"]

_EPSILON = np.finfo(np.float64).eps
_NEWTON_STEPS = 60
_SEPARATED = 50.0  # a slope beyond this is a perfect separation, not an estimate
_FALSE_ALARM = 0.05


def brier(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R,) mean squared error of the probability.

    Convention: binary, the squared error of the positive class (0 to 1); multiclass, summed over
    classes (0 to 2); multilabel, the mean over labels of the binary score.
    """
    known = ~np.isnan(scores.target)
    error = np.where(known, scores.probability - scores.target, 0.0) ** 2
    if scores.kind == "binary":
        return _mean(error[:, 1], weights)
    if scores.kind == "multiclass":
        return _mean(error.sum(1), weights)
    return _label_mean(error, known, weights)


def log_loss(scores: Scores, weights: FloatArray) -> FloatArray:
    """(R,) mean negative log-likelihood in nats; over labels the mean if multilabel."""
    p = np.clip(scores.probability, _EPSILON, 1 - _EPSILON)
    if scores.kind == "multilabel":
        known = ~np.isnan(scores.target)
        truth = np.where(known, scores.target, 0.0)
        loss = -(truth * np.log(p) + (1 - truth) * np.log1p(-p))
        return _label_mean(np.where(known, loss, 0.0), known, weights)
    p = p / p.sum(1, keepdims=True)
    return _mean(-(scores.target * np.log(p)).sum(1), weights)


def ece(scores: Scores, weights: FloatArray, *, bins: int, binning: Binning) -> FloatArray:
    """(R, L) expected calibration error of each scored label: mean |observed - predicted| over bins.

    Args:
        scores: What to measure.
        weights: (n, R).
        bins: Number of bins.
        binning: Right-closed bins of equal width on [0, 1], or of equal numbers of samples; bins are
            those of the unweighted sample.
    """
    return np.stack([_ece_of(scores, weights, c, bins, binning) for c in scores.positives], axis=1)


def bin_index(p: FloatArray, bins: int, binning: Binning) -> IntArray:
    """(n,) bin of each probability; p = 0 and p = 1 belong to the first and last bin."""
    if binning == "equal_width":
        index: IntArray = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
        return index
    rank = np.empty(len(p), dtype=int)
    rank[np.argsort(p, kind="stable")] = np.arange(1, len(p) + 1)
    return np.ceil(rank * bins / len(p)).astype(int) - 1


def slope_intercept(scores: Scores, weights: FloatArray, column: int) -> tuple[FloatArray, FloatArray]:
    """Intercept and slope, each (R,), of a logistic regression of the label on the logit (Cox 1958).

    A calibrated model has 0 and 1. NaN where the fit does not exist: one class only, constant
    predictions, or a perfect separation.
    """
    y, z, w = _logit_rows(scores, weights, column)
    if not len(y) or np.ptp(z) == 0:
        undefined = np.full(weights.shape[1], np.nan)
        return undefined, undefined.copy()
    intercept, slope = np.zeros(w.shape[1]), np.ones(w.shape[1])
    for _ in range(_NEWTON_STEPS):
        eta = np.clip(intercept + z[:, None] * slope, -500, 500)
        p = 1 / (1 + np.exp(-eta))
        gradient, curvature = w * (y[:, None] - p), w * p * (1 - p)
        g0, g1 = gradient.sum(0), z @ gradient
        h00, h01, h11 = curvature.sum(0), z @ curvature, (z**2) @ curvature
        determinant = h00 * h11 - h01**2
        with np.errstate(divide="ignore", invalid="ignore"):
            d0, d1 = (h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant
        largest = np.maximum(np.abs(d0), np.abs(d1))
        damp = np.where(largest > 4, 4 / np.maximum(largest, 1e-300), 1.0)
        intercept, slope = intercept + damp * d0, slope + damp * d1
        if not (largest > 1e-10).any():
            break
    bad = ~np.isfinite(slope) | (np.abs(slope) > _SEPARATED) | (largest > 1e-6)
    return np.where(bad, np.nan, intercept), np.where(bad, np.nan, slope)


def calibration_in_the_large(scores: Scores, weights: FloatArray, column: int) -> FloatArray:
    """(R,) intercept with the slope held at 1: are probabilities too high or too low on the whole?"""
    y, z, w = _logit_rows(scores, weights, column)
    intercept = np.zeros(w.shape[1])
    largest = np.full(w.shape[1], np.inf)
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(intercept + z[:, None], -500, 500)))
        with np.errstate(divide="ignore", invalid="ignore"):
            largest = np.clip((w * (y[:, None] - p)).sum(0) / (w * p * (1 - p)).sum(0), -4, 4)
        intercept = intercept + largest
        if not (np.abs(largest) > 1e-10).any():
            break
    bad = ~np.isfinite(intercept) | (np.abs(largest) > 1e-6) | (np.abs(intercept) > _SEPARATED)
    return np.where(bad, np.nan, intercept)


@dataclass(frozen=True, slots=True)
class CalibrationVerdict:
    """Whether one label's probabilities are compatible with being calibrated.

    Attributes:
        calibrated: False when the evidence against calibration is beyond chance at 5 % (two tests at
            2.5 % each); None when it cannot be judged.
        unreliability_p: p value against intercept 0 and slope 1: likelihood ratio, or a
            patient-robust Wald test where patients repeat.
        ece: Error in `ECE_BINS` bins of equal width.
        ece_null_high: 97.5 % quantile of that error if the probabilities were exactly right.
        ece_null_median: Its median: what a perfect model scores by chance alone.
    """

    calibrated: bool | None
    unreliability_p: float | None
    ece: float
    ece_null_median: float
    ece_null_high: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "calibrated": self.calibrated,
            "unreliability_p": self.unreliability_p,
            "ece": self.ece,
            "ece_null_median": self.ece_null_median,
            "ece_null_high": self.ece_null_high,
        }


ECE_BINS = 15


def judge_calibration(scores: Scores, column: int, *, simulations: int = 2000, seed: int = 0) -> CalibrationVerdict:
    """Test one label's probabilities against being exactly right.

    Args:
        scores: What to judge.
        column: Label.
        simulations: Draws of the null band, labels drawn from the probabilities themselves.
        seed: Seed of those draws.
    """
    known = ~np.isnan(scores.target[:, column])
    y, p, cluster = scores.target[known, column], scores.probability[known, column], scores.cluster[known]
    observed, null = _ece_null(y, p, simulations, np.random.default_rng(seed))
    high = float(np.quantile(null, 1 - _FALSE_ALARM / 2))
    p_value = _unreliability_p(scores.take(known), column, repeated=len(np.unique(cluster)) < len(cluster))
    miscalibrated = observed > high + 1e-12 or (p_value is not None and p_value < _FALSE_ALARM / 2)
    verdict = None if len(y) == 0 else not miscalibrated
    return CalibrationVerdict(verdict, p_value, observed, float(np.median(null)), high)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One point of a reliability diagram; the interval is Wilson's, 95 %."""

    count: int
    predicted: float
    observed: float
    low: float
    high: float


def reliability(scores: Scores, column: int, *, max_bins: int = 10, per_bin: int = 15) -> list[ReliabilityBin]:
    """Bins of equal mass for a reliability diagram; equal probabilities stay together.

    Args:
        scores: What to draw.
        column: Label.
        max_bins: At most this many.
        per_bin: At least this many samples in each, where there are enough.
    """
    known = ~np.isnan(scores.target[:, column])
    y, p = scores.target[known, column], scores.probability[known, column]
    if not len(y):
        return []
    index = bin_index(p, max(1, min(max_bins, len(y) // per_bin)), "equal_mass")
    for value in np.unique(p):
        index[p == value] = index[p == value].min()
    out = []
    for b in np.unique(index):
        inside = index == b
        n, hits = int(inside.sum()), int(y[inside].sum())
        interval = stats.binomtest(hits, n).proportion_ci(method="wilson")
        out.append(ReliabilityBin(n, float(p[inside].mean()), hits / n, float(interval.low), float(interval.high)))
    return out


def _mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    total = weights.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, (values @ weights) / total, np.nan)


def _label_mean(values: FloatArray, known: Any, weights: FloatArray) -> FloatArray:
    from medmm.metrics.classification import nan_mean

    with np.errstate(divide="ignore", invalid="ignore"):
        return nan_mean((weights.T @ values) / (weights.T @ known.astype(np.float64)))


def _ece_of(scores: Scores, weights: FloatArray, column: int, bins: int, binning: Binning) -> FloatArray:
    known = ~np.isnan(scores.target[:, column])
    y, p, w = scores.target[known, column], scores.probability[known, column], weights[known]
    if not len(y):
        return np.full(weights.shape[1], np.nan)
    membership = one_hot(bin_index(p, bins, binning), bins)
    gaps = np.abs((membership * (y - p)[:, None]).T @ w).sum(0)
    total = w.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, gaps / total, np.nan)


def _logit_rows(scores: Scores, weights: FloatArray, column: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    known = ~np.isnan(scores.target[:, column])
    p = np.clip(scores.probability[known, column], _EPSILON, 1 - _EPSILON)
    return scores.target[known, column], np.log(p) - np.log1p(-p), weights[known]


def _ece_null(y: FloatArray, p: FloatArray, simulations: int, rng: np.random.Generator) -> tuple[float, FloatArray]:
    if not len(y):
        return float("nan"), np.full(1, np.nan)
    membership = one_hot(bin_index(p, ECE_BINS, "equal_width"), ECE_BINS)
    observed = np.abs(membership.T @ (y - p)).sum() / len(y)
    null = np.empty(simulations)
    for start in range(0, simulations, 100):
        drawn = (rng.random((len(p), min(100, simulations - start))) < p[:, None]) - p[:, None]
        null[start : start + drawn.shape[1]] = np.abs(membership.T @ drawn).sum(0) / len(y)
    return float(observed), null


def _unreliability_p(scores: Scores, column: int, *, repeated: bool) -> float | None:
    """P value of intercept 0 and slope 1 together, 2 degrees of freedom."""
    ones = np.ones((len(scores), 1))
    intercepts, slopes = slope_intercept(scores, ones, column)
    a, b = float(intercepts[0]), float(slopes[0])
    if not np.isfinite([a, b]).all():
        return None
    y, z, _ = _logit_rows(scores, ones, column)
    if not repeated:
        gain = _log_likelihood(y, a + b * z) - _log_likelihood(y, z)
        return float(stats.chi2.sf(2 * max(gain, 0.0), 2))
    p = 1 / (1 + np.exp(-(a + b * z)))
    design = np.stack([np.ones_like(z), z], axis=1)
    bread = np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design)
    each = design * (y - p)[:, None]
    patients, index = np.unique(scores.cluster, return_inverse=True)
    summed = np.zeros((len(patients), 2))
    np.add.at(summed, index, each)
    covariance = bread @ (summed.T @ summed) @ bread * len(patients) / max(len(patients) - 1, 1)
    off = np.array([a, b - 1])
    return float(stats.chi2.sf(float(off @ np.linalg.solve(covariance, off)), 2))


def _log_likelihood(y: FloatArray, eta: FloatArray) -> float:
    return float((y * eta - np.logaddexp(0, eta)).sum())
