"""Can probabilities be believed? A verdict, its classical rivals, the play of chance, and diagrams.

Measures of calibration error are in `binned`, `cox`, `smooth` and `proper`; here they are judged.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from medmm.metrics.binned import ECE_BINS, MASS_BINS, bin_index, hosmer_lemeshow, quantile_groups, ranked
from medmm.metrics.column import column
from medmm.metrics.comparison import adjust
from medmm.metrics.cox import log_likelihood, slope_intercept, spiegelhalter_z
from medmm.metrics.scores import Scores, one_hot
from medmm.types import FloatArray

_EPSILON = np.finfo(np.float64).eps
_FALSE_ALARM = 0.05
_DRAWS_AT_ONCE = 100
_DRAWS_A_LABEL = 100  # fewer and no p value could survive the correction for so many labels

CLASSICAL_TESTS = (_SPIEGELHALTER, _HOSMER_LEMESHOW, _UNRELIABILITY) = (
    "spiegelhalter",
    f"hosmer_lemeshow[{MASS_BINS}]",
    "unreliability",
)
"""Names of the tests in `classical_tests`."""


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


def judge_calibration(scores: Scores, index: int, *, simulations: int = 2000, seed: int = 0) -> CalibrationVerdict:
    """Test one label's probabilities against being exactly right.

    Three statistics look for three faults: the score test of intercept 0 and slope 1 for a shift,
    Spiegelhalter's (1986) for too much or too little confidence, the ECE for anything else. Each is
    ranked among its values for labels drawn from the probabilities themselves; the p value is the
    rank of the best of the three ranks, so 5 % holds for them together and for any sample size.
    All samples of a patient share one draw. That is the strongest dependence they can have, so with
    several samples a patient the test errs on the side of calibrated.

    Args:
        scores: What to judge.
        index: Label.
        simulations: Draws.
        seed: Seed of the draws.
    """
    known = ~np.isnan(scores.target[:, index])
    y, p = scores.target[known, index], scores.probability[known, index]
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


def judge_labels(scores: Scores, *, simulations: int = 2000, seed: int = 0) -> tuple[CalibrationVerdict, ...]:
    """Judge all scored labels together, in the order of `scores.positives`.

    Of 18 labels with perfect probabilities one would fail a test at 5 % nearly always; so p values are corrected for
    the number of labels (Holm 1979), and 5 % is how often any of them is found miscalibrated by chance.

    Args:
        scores: What to judge.
        simulations: Draws a label, more where many labels need smaller p values.
        seed: Seed of the draws.
    """
    draws = max(simulations, _DRAWS_A_LABEL * len(scores.positives))
    verdicts = [judge_calibration(scores, k, simulations=draws, seed=seed) for k in scores.positives]
    corrected = iter(adjust(np.array([v.p_value for v in verdicts if v.p_value is not None], dtype=np.float64), "holm"))
    return tuple(v if v.p_value is None else _corrected(v, float(next(corrected))) for v in verdicts)


def _corrected(verdict: CalibrationVerdict, p_value: float) -> CalibrationVerdict:
    return replace(verdict, calibrated=p_value >= _FALSE_ALARM, p_value=p_value)


@dataclass(frozen=True, slots=True)
class CalibrationTest:
    """A test of the probabilities being exactly right that takes samples as independent.

    Attributes:
        name: One of `CLASSICAL_TESTS`.
        statistic: Standard normal, chi-square and chi-square if they are.
        degrees: Of freedom of a chi-square; None for a normal one.
        p_value: Two-sided.
    """

    name: str
    statistic: float
    degrees: int | None
    p_value: float


def classical_tests(scores: Scores, index: int) -> tuple[CalibrationTest, ...]:
    """Tests known from the literature, those that are defined for these samples.

    Spiegelhalter's (1986) z; Hosmer and Lemeshow's (1980) chi-square, with as many degrees of freedom as groups since
    the model was not fitted on these samples; the likelihood-ratio test of intercept 0 and slope 1 (Cox 1958).
    They hold for one sample a patient and enough of them; `judge_calibration` needs neither.

    Args:
        scores: What to test.
        index: Label.
    """
    label, ones = column(scores, index), np.ones((len(scores), 1))
    if not len(label.p):
        return ()
    found = []
    if np.isfinite(z := float(spiegelhalter_z(label, ones)[0])):
        found.append(CalibrationTest(_SPIEGELHALTER, z, None, float(2 * stats.norm.sf(abs(z)))))
    groups = quantile_groups(label, ranked(label, ones), MASS_BINS)
    if np.isfinite(chi := float(hosmer_lemeshow(groups)[0])):
        degrees = int((groups.weight > 0).sum())
        found.append(CalibrationTest(_HOSMER_LEMESHOW, chi, degrees, float(stats.chi2.sf(chi, degrees))))
    intercept, slope = (float(v[0]) for v in slope_intercept(label, ones))
    if np.isfinite(slope):
        ratio = 2 * (log_likelihood(label, intercept, slope) - log_likelihood(label, 0.0, 1.0))
        found.append(CalibrationTest(_UNRELIABILITY, ratio, 2, float(stats.chi2.sf(ratio, 2))))
    return tuple(found)


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
