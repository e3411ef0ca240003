"""A package outside medmm that adds a metric, as small as one can be."""

from __future__ import annotations

import numpy as np

from medmm.metrics import Metric, Scores, Single


def sharpness(scores: Scores, weights):
    """(R,) mean distance of all probabilities from 0.5: how much the model commits itself."""
    away = np.abs(scores.probability - 0.5).mean(1)
    with np.errstate(invalid="ignore"):
        return away @ weights / weights.sum(0)


SHARPNESS = Single(Metric("sharpness", "higher", "needs at least one sample", 0, 0.5), sharpness)
