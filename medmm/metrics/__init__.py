"""Measures of predictions: pure functions on numpy, each named so that it can be reproduced.

`catalogue` lists the metrics that apply to some scores, by family; `evaluate` computes them for any number of
weightings at once, so that a point estimate and a thousand bootstrap replicates are one call.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from itertools import chain

import numpy as np

from medmm.metrics.family import Family, Metric, PerLabel, Single
from medmm.metrics.scores import Scores, decide, one_hot
from medmm.registry import Registry
from medmm.types import AnyArray, FloatArray

__all__ = [
    "FAMILIES",
    "Family",
    "Metric",
    "PerLabel",
    "Scores",
    "Single",
    "batch",
    "catalogue",
    "decide",
    "evaluate",
    "one_hot",
    "point",
]

FAMILIES: Registry[Family] = Registry("metrics")
"""Ours and those of plug-ins."""

_OURS = {
    "confusion": "medmm.metrics.classification:CONFUSION",
    "areas": "medmm.metrics.ranking:AREAS",
    "hand_till": "medmm.metrics.ranking:HAND_TILL",
    "operating_points": "medmm.metrics.operating:OPERATING_POINTS",
    "proper": "medmm.metrics.proper:PROPER",
    "equal_width": "medmm.metrics.binned:EQUAL_WIDTH",
    "equal_mass": "medmm.metrics.binned:EQUAL_MASS",
    "top_label": "medmm.metrics.binned:TOP_LABEL",
    "smooth_ece": "medmm.metrics.smooth:SMOOTH_ECE",
    "cox": "medmm.metrics.cox:COX",
    "totals": "medmm.metrics.cox:TOTALS",
    "selective": "medmm.metrics.selective:SELECTIVE",
    "net_benefit": "medmm.metrics.decision_curve:NET_BENEFIT",
    "lowess": "medmm.metrics.smooth:LOWESS",
    "corp": "medmm.metrics.proper:CORP",
}
for _name, _target in _OURS.items():
    FAMILIES.add(_name, _target)

_FEWEST_LANES, _CELLS = 16, 1 << 19
"""Replicates at a time: at least so many, and of few samples as many as still fit the cache together."""

Catalogue = list[tuple[Family, tuple[Metric, ...]]]


def catalogue(scores: Scores, only: Collection[str] | None = None) -> Catalogue:
    """The metrics that apply to scores of this kind and these labels, by family, headline ones first.

    Args:
        scores: What to measure.
        only: Names to keep, all when None.

    Raises:
        KeyError: If a name in `only` is none of them; the message names the nearest.
        ValueError: If two families use one name.
    """
    every = scores.cached("catalogue", lambda: _catalogue(scores))
    if only is None:
        return every
    wanted = frozenset(only)
    _check_known(wanted, [m.name for _, metrics in every for m in metrics])
    kept = ((family, tuple(m for m in metrics if m.name in wanted)) for family, metrics in every)
    return [(family, metrics) for family, metrics in kept if metrics]


def evaluate(scores: Scores, weights: AnyArray, names: Collection[str] | None = None) -> dict[str, FloatArray]:
    """Metrics under every weighting.

    Args:
        scores: What to measure.
        weights: (n, R) whole numbers: how often each sample counts.
        names: Which metrics; all when None.

    Returns:
        (R,) float64 by name, NaN where undefined.

    Raises:
        KeyError: If a name is unknown.
    """
    kept = [(family, {m.name for m in metrics}) for family, metrics in catalogue(scores, names)]
    rows = [(family, [(i, m.name) for i, m in enumerate(family.metrics(scores)) if m.name in wanted]) for family, wanted in kept]
    found: dict[str, list[FloatArray]] = {name: [] for _, named in rows for _, name in named}
    for lane in _lanes(weights):
        for family, named in rows:
            values = family.batch(scores, lane)
            for row, name in named:
                found[name].append(values[row])
    return {name: np.concatenate(values) for name, values in found.items()}


def batch(name: str, scores: Scores, weights: AnyArray) -> FloatArray:
    """One metric under every weighting (n, R): (R,), NaN where undefined."""
    return evaluate(scores, weights, (name,))[name]


def point(name: str, scores: Scores, weight: AnyArray | None = None) -> float:
    """The plain value of a metric, or that under one weighting (n,); NaN where undefined."""
    return float(batch(name, scores, (np.ones(len(scores)) if weight is None else np.asarray(weight))[:, None])[0])


def _catalogue(scores: Scores) -> Catalogue:
    names = [*_OURS, *(name for name in FAMILIES if name not in _OURS)]
    found = [(family, family.metrics(scores)) for family in map(FAMILIES.get, names)]
    every = [m.name for m in chain.from_iterable(metrics for _, metrics in found)]
    if repeated := sorted({name for name in every if every.count(name) > 1}):
        msg = f"Expected every metric to have a name of its own; {', '.join(repeated)} is defined twice. Rename the plug-in's."
        raise ValueError(msg)
    return found


def _check_known(wanted: frozenset[str], known: list[str]) -> None:
    for name in sorted(wanted.difference(known)):
        near = difflib.get_close_matches(name, known, n=1)
        msg = f"Expected the name of a metric; got {name!r}." + (f" Did you mean {near[0]!r}?" if near else "")
        raise KeyError(msg)


def _lanes(weights: AnyArray) -> Iterator[FloatArray]:
    lanes = max(_FEWEST_LANES, _CELLS // max(1, len(weights)))
    for start in range(0, max(weights.shape[1], 1), lanes):
        yield np.ascontiguousarray(weights[:, start : start + lanes], dtype=np.float64)
