"""Proper scores and calibration errors as families."""

from __future__ import annotations

from functools import partial

import numpy as np

from medmm.metrics import calibration
from medmm.metrics.family import Metric, PerLabel, Single
from medmm.metrics.scores import Scores
from medmm.types import FloatArray

_EMPTY = "needs at least one sample"
_NO_FIT = "needs both classes, predictions that differ, and no perfect separation"
_ONE_CLASS = "needs both classes among the samples"


class _Cox:
    """Slope, intercept and calibration in the large of every scored label."""

    def metrics(self, scores: Scores) -> tuple[Metric, ...]:
        """Label by label."""
        found = []
        for column in scores.positives:
            label = "" if scores.kind == "binary" else f"[{scores.labels[column]}]"
            found += [
                Metric(f"cal_slope{label}", "target", _NO_FIT, -np.inf, np.inf),
                Metric(f"cal_intercept{label}", "target", _NO_FIT, -np.inf, np.inf),
                Metric(f"cal_in_the_large{label}", "target", _ONE_CLASS, -np.inf, np.inf),
            ]
        return tuple(found)

    def batch(self, scores: Scores, weights: FloatArray) -> FloatArray:
        """(3 L, R)."""
        found = []
        for column in scores.positives:
            intercept, slope = calibration.slope_intercept(scores, weights, column)
            found += [slope, intercept, calibration.calibration_in_the_large(scores, weights, column)]
        return np.stack(found)


def _ece(scores: Scores, weights: FloatArray, *, bins: int, binning: calibration.Binning) -> FloatArray:
    return calibration.ece(scores, weights, bins=bins, binning=binning).T[None]


BRIER = Single(Metric("brier", "lower", _EMPTY, 0, 2), calibration.brier)
LOG_LOSS = Single(Metric("log_loss", "lower", _EMPTY, 0, np.inf), calibration.log_loss)
ECE_WIDTH = PerLabel(
    (Metric("ece[equal_width,15]", "lower", _EMPTY, 0, 1, null=True),),
    partial(_ece, bins=calibration.ECE_BINS, binning="equal_width"),
)
ECE_MASS = PerLabel(
    (Metric("ece[equal_mass,10]", "lower", _EMPTY, 0, 1, null=True),),
    partial(_ece, bins=10, binning="equal_mass"),
)
COX = _Cox()
