"""What chance alone makes of a measure of calibration error: its values for a perfectly calibrated model."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from medmm.metrics import catalogue, evaluate
from medmm.metrics.intervals import percentile_interval
from medmm.metrics.scores import Scores
from medmm.metrics.undefined import nan_mean
from medmm.types import FloatArray, IntArray

_DRAWS_AT_ONCE = 64


def null_band(
    scores: Scores, names: Collection[str], *, seed: int = 0, simulations: int = 400, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Central band of each metric if the probabilities were exactly right: what chance alone makes of it.

    Labels are drawn from the probabilities. All samples of a patient share one draw, and so do all labels of a
    multilabel task: the strongest dependence they can have, so the band is rather too wide than too narrow.

    Args:
        scores: Samples and their probabilities.
        names: Metrics; one that is undefined in more than half of the draws is left out.
        seed: Seed of the draws.
        simulations: Draws.
        level: Share of the draws inside.
    """
    patients, patient = np.unique(scores.cluster, return_inverse=True)
    drawn: dict[str, list[FloatArray]] = {}
    for rows, part in _exclusive_parts(scores):
        here = {m.name for _, metrics in catalogue(part) for m in metrics} & set(names)
        every, edges, blocks = _every_outcome(part), _edges(part), []
        rng = np.random.default_rng(seed)  # the same draws for every label
        for start in range(0, simulations, _DRAWS_AT_ONCE):
            luck = rng.random((len(patients), min(_DRAWS_AT_ONCE, simulations - start)))[patient[rows]]
            outcome = (luck[:, None, :] >= edges[:, :, None]).sum(1)
            blocks.append(evaluate(every, np.concatenate([outcome == k for k in range(edges.shape[1] + 1)]), here))
        for name in blocks[0]:
            drawn.setdefault(name, []).append(np.concatenate([b[name] for b in blocks]))
    found = {name: percentile_interval(nan_mean(np.stack(parts, axis=-1)), level) for name, parts in drawn.items()}
    return {name: band for name, band in found.items() if band is not None}


def _exclusive_parts(scores: Scores) -> Iterator[tuple[IntArray, Scores]]:
    """Parts whose samples have one of several outcomes each: everything, or label by label where it is known."""
    if scores.kind != "multilabel":
        yield np.arange(len(scores)), scores
        return
    for k, label in enumerate(scores.labels):
        rows = np.flatnonzero(~np.isnan(scores.target[:, k]))
        if len(rows):
            target, p, called = (a[rows][:, [k]] for a in (scores.target, scores.probability, scores.called))
            yield rows, Scores("multilabel", (label,), target, p, called, scores.cluster[rows])


def _edges(scores: Scores) -> FloatArray:
    """(n, outcomes - 1) where, within 0 to 1, the luck for one outcome ends and that for the next begins."""
    if scores.kind == "multilabel":
        return 1 - scores.probability
    return np.asarray(np.cumsum(scores.probability, axis=1)[:, :-1])


def _every_outcome(scores: Scores) -> Scores:
    """Every sample once with each outcome, outcome by outcome; weights choose the one that is drawn."""
    outcomes = np.array([[0.0], [1.0]]) if scores.kind == "multilabel" else np.eye(len(scores.labels))
    times = len(outcomes)
    return Scores(
        scores.kind,
        scores.labels,
        np.repeat(outcomes, len(scores), axis=0),
        np.tile(scores.probability, (times, 1)),
        np.tile(scores.called, (times, 1)),
        np.tile(scores.cluster, times),
    )
