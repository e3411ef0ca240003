"""Tests of no difference between two models on the same samples, and corrections for making many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from medmm.metrics import Scores, evaluate, point
from medmm.metrics.delong import delong, obuchowski, paired_test
from medmm.types import AnyArray, FloatArray, IntArray

_BLOCK = 64


class McNemar(NamedTuple):
    """Samples that only the first, and only the second, got right, and p values (McNemar 1947).

    Attributes:
        first, second: Counts.
        exact: Binomial, two-sided.
        corrected: Chi-square with continuity correction (Edwards 1948).
        plain: Chi-square.
    """

    first: int
    second: int
    exact: float
    corrected: float
    plain: float


def mcnemar(first_right: AnyArray, second_right: AnyArray) -> McNemar:
    """Compare decisions on independent samples; without any discordant pair every p is 1.

    Args:
        first_right: (n,) bool.
        second_right: (n,) bool.
    """
    b, c = int((first_right & ~second_right).sum()), int((~first_right & second_right).sum())
    if not b + c:
        return McNemar(0, 0, 1.0, 1.0, 1.0)
    exact = float(stats.binomtest(b, b + c).pvalue)
    corrected, plain = stats.chi2.sf([max(abs(b - c) - 1, 0) ** 2 / (b + c), (b - c) ** 2 / (b + c)], 1)
    return McNemar(b, c, exact, float(corrected), float(plain))


def mcnemar_p(first_right: AnyArray, second_right: AnyArray) -> float:
    """Exact p of equally many errors on independent samples."""
    return mcnemar(first_right, second_right).exact


def delong_p(target: FloatArray, first: FloatArray, second: FloatArray, cluster: IntArray | None = None) -> float:
    """Of equal AUROC; by patients (Obuchowski 1997) where they have several samples. NaN where undefined.

    Args:
        target: (n,) 0 or 1.
        first: (n,) scores.
        second: (n,) scores.
        cluster: (n,) patient of each sample; None when each is a patient of its own.
    """
    scores = np.stack([first, second], axis=1)
    return paired_test(delong(target, scores) if cluster is None else obuchowski(target, scores, cluster)).p_value


def bootstrap_p(differences: FloatArray) -> float:
    """Twice the share of replicates on the rarer side of zero, no less than what so many can tell; NaN when most are undefined."""
    defined = differences[~np.isnan(differences)]
    if len(defined) * 2 < len(differences) or not len(defined):
        return np.nan
    rarer = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(defined) + 1)))


def permutation_p(first: Scores, second: Scores, name: str, permutations: int = 1000, seed: int = 0) -> float:
    """Share of random exchanges of the two models' answers, patient by patient, that differ at least as much.

    The answers of both stand in one table of 2 n rows, so that an exchange is a choice of weights. NaN where the
    metric is undefined. Under the hypothesis the two models are alike in all, so both must be on one scale.

    Args:
        first: One model's answers.
        second: The other's, of the same samples in the same order.
        name: Metric.
        permutations: How many.
        seed: Seed.
    """
    observed = point(name, first) - point(name, second)
    if np.isnan(observed):
        return np.nan
    both = _stacked(first, second)
    differences = [
        evaluate(both, np.concatenate([kept, 1 - kept]), [name])[name]
        - evaluate(both, np.concatenate([1 - kept, kept]), [name])[name]
        for kept in _exchanges(first.cluster, permutations, seed)
    ]
    found = np.concatenate(differences)
    found = found[~np.isnan(found)]
    return float(((np.abs(found) >= abs(observed) - 1e-12).sum() + 1) / (len(found) + 1))


def adjust(p_values: FloatArray, method: Literal["holm", "bh", "bonferroni", "hommel"]) -> FloatArray:
    """P values corrected for their number.

    Family-wise by Holm (1979), Bonferroni or, for tests that are independent or positively dependent, the sharper Hommel
    (1988); for the share of false discoveries by Benjamini and Hochberg (1995).
    """
    if method == "bh":
        return np.asarray(stats.false_discovery_control(p_values))
    if method == "bonferroni":
        return np.minimum(p_values * len(p_values), 1.0)
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    adjusted[order] = _hommel(p_values[order]) if method == "hommel" else _holm(p_values[order])
    return adjusted


def _holm(rising: FloatArray) -> FloatArray:
    return np.minimum(np.maximum.accumulate(rising * np.arange(len(rising), 0, -1)), 1.0)


def _hommel(rising: FloatArray) -> FloatArray:
    """The largest p value of Simes' (1986) test over all sets that hold a hypothesis: of each size, its worst set."""
    n = len(rising)
    adjusted = rising.copy()
    for size in range(n, 0, -1):
        simes = size * rising[n - size :] / np.arange(1, size + 1)  # of the largest `size` p values
        others = float((simes[1:]).min()) if size > 1 else np.inf
        worst = np.minimum(size * rising, others)
        worst[n - size :] = np.maximum(worst[n - size :], simes.min())
        adjusted = np.maximum(adjusted, worst)
    return np.minimum(adjusted, 1.0)


def _stacked(first: Scores, second: Scores) -> Scores:
    return Scores(
        first.kind,
        first.labels,
        np.concatenate([first.target, second.target]),
        np.concatenate([first.probability, second.probability]),
        np.concatenate([first.called, second.called]),
        np.concatenate([first.cluster, second.cluster]),
        first.prevalence,
    )


def _exchanges(cluster: IntArray, permutations: int, seed: int) -> Iterator[IntArray]:
    """(n, up to 64) 1 where a sample keeps its model, the same for all samples of a patient."""
    patients, patient = np.unique(cluster, return_inverse=True)
    rng = np.random.default_rng(seed)
    for start in range(0, permutations, _BLOCK):
        yield rng.integers(0, 2, size=(len(patients), min(_BLOCK, permutations - start)))[patient]
