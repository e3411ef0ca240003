"""How far off answers to an ordinal question are."""

from __future__ import annotations

import numpy as np

from medmm.metrics.undefined import ratio
from medmm.types import FloatArray, IntArray


def ranked_probability_score(target: FloatArray, probability: FloatArray) -> FloatArray:
    """(n,) mean squared distance of cumulative probabilities from the truth's (Epstein 1969), 0 best and 1 worst.

    Args:
        target: (n, K) one-hot, classes in their order.
        probability: (n, K), rows sum to 1.
    """
    apart = (probability - target).cumsum(1)[:, :-1]
    return np.asarray((apart**2).mean(1))


def quadratic_kappa(truth: IntArray, called: IntArray, classes: int, weights: FloatArray) -> FloatArray:
    """(R,) Cohen's kappa with quadratic weights (Cohen 1968); NaN when truth and calls are one and the same class.

    Args:
        truth: (n,) index of the class.
        called: (n,) likewise.
        classes: How many there are.
        weights: (n, R) how often each sample counts.
    """
    of_truth, of_called = (np.eye(classes)[index].T @ weights for index in (truth, called))
    distance = np.subtract.outer(np.arange(classes), np.arange(classes)) ** 2
    expected = np.einsum("ir,ij,jr->r", of_truth, distance, of_called)
    return np.asarray(1 - ratio(((truth - called) ** 2) @ weights * weights.sum(0), expected))
