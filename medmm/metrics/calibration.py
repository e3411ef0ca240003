"""How far probabilities can be believed: proper scores, calibration errors, slope, and a verdict.

Functions of (`Scores`, weights (n, R)) return R values, NaN where undefined. Estimators carry their
parameters in the name they are reported under.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats
from scipy.special import expit

from medmm.metrics.scores import Scores, one_hot
from medmm.metrics.undefined import nan_mean
from medmm.types import AnyArray, FloatArray, IntArray

Binning = Literal["equal_width", "equal_mass"]

ECE_BINS = 15
"""Bins of the ECE that verdicts use."""

_EPSILON = np.finfo(np.float64).eps
_NEWTON_STEPS = 100
_LARGEST_STEP = 10.0
_FALSE_ALARM = 0.05
_DRAWS_AT_ONCE = 100


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
        binning: Right-closed bins of equal width on [0, 1], or of equal numbers of samples with equal
            probabilities kept together; bins are those of the unweighted sample.
    """
    return np.stack([_ece_of(scores, weights, c, bins, binning) for c in scores.positives], axis=1)


def bin_index(p: FloatArray, bins: int, binning: Binning) -> IntArray:
    """(n,) bin of each probability; p = 0 and p = 1 belong to the first and last bin."""
    if binning == "equal_width":
        inner = np.linspace(0, 1, bins + 1)[1:-1]
        return np.asarray(np.searchsorted(inner, p, side="left"))
    lowest = stats.rankdata(p, method="min").astype(int)
    return np.asarray(-(-lowest * bins // len(p)) - 1)


def slope_intercept(scores: Scores, weights: FloatArray, column: int) -> tuple[FloatArray, FloatArray]:
    """Intercept and slope, each (R,), of a logistic regression of the label on the logit (Cox 1958).

    A calibrated model has 0 and 1. NaN where the fit does not exist: one class only, constant
    predictions, or a perfect separation.
    """
    y, z, w = _logit_rows(scores, weights, column)
    exists = _classes_overlap(y, z, w)
    scale = float(z.std()) if exists.any() else 1.0
    z = z / scale
    intercept, slope = np.zeros(w.shape[1]), np.zeros(w.shape[1])  # Newton from the origin converges; from slope 1 it may not
    for _ in range(_NEWTON_STEPS):
        p = expit(intercept + z[:, None] * slope)
        gradient, curvature = w * (y[:, None] - p), w * p * (1 - p)
        g0, g1 = gradient.sum(0), z @ gradient
        h00, h01, h11 = curvature.sum(0), z @ curvature, (z**2) @ curvature
        determinant = np.where(exists, h00 * h11 - h01**2, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            d0, d1 = (h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant
            largest = np.maximum(np.abs(d0), np.abs(d1))
            damp = _LARGEST_STEP / np.maximum(largest, _LARGEST_STEP)
            intercept, slope = intercept + damp * d0, slope + damp * d1
        if not (largest[exists] > 1e-10).any():
            break
    good = exists & np.isfinite(slope) & (largest < 1e-6)
    return np.where(good, intercept, np.nan), np.where(good, slope / scale, np.nan)


def calibration_in_the_large(scores: Scores, weights: FloatArray, column: int) -> FloatArray:
    """(R,) intercept with the slope held at 1: are probabilities too high or too low on the whole?

    NaN with one class only.
    """
    y, z, w = _logit_rows(scores, weights, column)
    exists = (y @ w > 0) & ((1 - y) @ w > 0)
    intercept = np.zeros(w.shape[1])
    for _ in range(_NEWTON_STEPS):
        p = expit(intercept + z[:, None])
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.clip((w * (y[:, None] - p)).sum(0) / (w * p * (1 - p)).sum(0), -4, 4)
        intercept = intercept + step
        if not (np.abs(step[exists]) > 1e-10).any():
            break
    good = exists & np.isfinite(intercept) & (np.abs(step) < 1e-6)
    return np.where(good, intercept, np.nan)


@dataclass(frozen=True, slots=True)
class CalibrationVerdict:
    """Whether one label's probabilities are compatible with being exactly right.

    Attributes:
        calibrated: False when the evidence against it is beyond chance at 5 %; None without a sample.
        p_value: Of the test in `judge_calibration`; None without a sample.
        ece: Error in `ECE_BINS` bins of equal width.
        ece_null_median: Its median if the probabilities were exactly right: chance alone.
        ece_null_high: Its 97.5 % quantile then.
    """

    calibrated: bool | None
    p_value: float | None
    ece: float
    ece_null_median: float
    ece_null_high: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def judge_calibration(scores: Scores, column: int, *, simulations: int = 2000, seed: int = 0) -> CalibrationVerdict:
    """Test one label's probabilities against being exactly right.

    Three statistics look for three faults: the score test of intercept 0 and slope 1 for a shift,
    Spiegelhalter's (1986) for too much or too little confidence, the ECE for anything else. Each is
    ranked among its values for labels drawn from the probabilities themselves; the p value is the
    rank of the best of the three ranks, so 5 % holds for them together and for any sample size.
    All samples of a patient share one draw. That is the strongest dependence they can have, so with
    several samples a patient the test errs on the side of calibrated.

    Args:
        scores: What to judge.
        column: Label.
        simulations: Draws.
        seed: Seed of the draws.
    """
    known = ~np.isnan(scores.target[:, column])
    y, p = scores.target[known, column], scores.probability[known, column]
    if not len(y):
        return CalibrationVerdict(None, None, float("nan"), float("nan"), float("nan"))
    patients, patient = np.unique(scores.cluster[known], return_inverse=True)
    rng = np.random.default_rng(seed)
    found = [_departures(p, (y - p)[:, None])]
    for start in range(0, simulations, _DRAWS_AT_ONCE):
        luck = rng.random((len(patients), min(_DRAWS_AT_ONCE, simulations - start)))
        found.append(_departures(p, (luck[patient] < p[:, None]) - p[:, None]))
    departures = np.concatenate(found, axis=1)
    ece_observed, ece_null = departures[-1, 0], departures[-1, 1:]
    # What is equal but for rounding must rank as equal.
    ranks = 1 - (stats.rankdata(np.round(departures, 10), method="min", axis=1) - 1) / departures.shape[1]
    best = ranks.min(axis=0)
    p_value = float((best <= best[0]).mean())
    return CalibrationVerdict(
        p_value >= _FALSE_ALARM, p_value, float(ece_observed), float(np.median(ece_null)), float(np.quantile(ece_null, 0.975))
    )


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
    with np.errstate(divide="ignore", invalid="ignore"):
        return nan_mean((weights.T @ values) / (weights.T @ known.astype(np.float64)))


def _classes_overlap(y: FloatArray, z: FloatArray, w: FloatArray) -> AnyArray:
    """(R,) whether some of either class lie above some of the other, without which no slope fits best."""
    values = np.broadcast_to(z[:, None], w.shape)
    drawn = [(w > 0) & (y == c)[:, None] for c in (0, 1)]
    low = [np.where(d, values, np.inf).min(0, initial=np.inf) for d in drawn]
    high = [np.where(d, values, -np.inf).max(0, initial=-np.inf) for d in drawn]
    return np.asarray((high[0] > low[1]) & (high[1] > low[0]))


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


def _departures(p: FloatArray, residual: FloatArray) -> FloatArray:
    """(3, R) score test, Spiegelhalter's statistic and ECE of residuals (n, R), label minus probability."""
    inside = np.clip(p, _EPSILON, 1 - _EPSILON)
    design = np.stack([np.ones_like(p), np.log(inside) - np.log1p(-inside)])
    information = (design * (inside * (1 - inside))) @ design.T
    off = design @ residual
    score = np.einsum("ir,ij,jr->r", off, np.linalg.pinv(information, rcond=1e-12, hermitian=True), off)
    spiegelhalter = np.abs((1 - 2 * p) @ residual)
    membership = one_hot(bin_index(p, ECE_BINS, "equal_width"), ECE_BINS)
    return np.stack([score, spiegelhalter, np.abs(membership.T @ residual).sum(0) / len(p)])
