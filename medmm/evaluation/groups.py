"""Subgroups, missing-modality patterns and sites: the same numbers for each, the gap between them, and what is withheld."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import expit, logit

from medmm.errors import TaskError
from medmm.evaluation.policies import Banded
from medmm.evaluation.resample import Estimates, Resampling
from medmm.evaluation.sides import Side
from medmm.evaluation.task import Task
from medmm.metrics import Metric
from medmm.metrics.heterogeneity import random_effects
from medmm.results import Gap, Group, Heterogeneity, Value
from medmm.store import Record
from medmm.types import AnyArray, FloatArray

PATTERN = "pattern"
"""Column of the modalities present: always a subgroup."""

_NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A group with the estimates behind its numbers; None when they are withheld."""

    group: Group
    found: Estimates | None


def measure_groups(side: Side, metrics: Sequence[Metric], resampling: Resampling, task: Task) -> list[Measured]:
    """Every group of every column of the task.

    Args:
        side: The full arm.
        metrics: To measure.
        resampling: Draws; the same for all groups, so that differences are paired.
        task: Names the columns.

    Raises:
        TaskError: If there is no such column, or its cells are not the numbers that bands need.
    """
    return [_measure(*group, side, metrics, resampling, task) for group in groups_of(side, task)]


def groups_of(side: Side, task: Task) -> Iterator[tuple[str, str, AnyArray]]:
    """(column, value, mask) of every group: patterns of modalities, the task's columns, sites.

    Raises:
        TaskError: As for `measure_groups`.
    """
    columns: list[str | Banded] = [PATTERN, *task.subgroups.columns, *([task.unit.site] if task.unit.site else [])]
    for column in dict.fromkeys(columns):
        for value, mask in _masks(column, side.rows):
            yield column if isinstance(column, str) else column.column, value, mask


def gaps(measured: Sequence[Measured], metrics: Sequence[Metric], resampling: Resampling) -> tuple[Gap, ...]:
    """Best against worst group of each column, by their point estimates."""
    found = []
    for column in dict.fromkeys(m.group.column for m in measured):
        for metric in metrics:
            shown = [m for m in measured if m.group.column == column and not np.isnan(_point(m, metric))]
            if len(shown) > 1 and metric.better != "target":
                found.append(_gap(column, metric, shown, resampling))
    return tuple(found)


def heterogeneity(measured: Sequence[Measured], metrics: Sequence[Metric], column: str, level: float) -> tuple[Heterogeneity, ...]:
    """How much each metric differs between sites.

    Measures bounded by 0 and 1 are combined on the logit scale (Snell et al. 2018), the others as they are. The
    variance of a site is that of its replicates.

    Args:
        measured: Groups, those of the site column among them.
        metrics: To combine.
        column: The site column, empty for none.
        level: Of the intervals.
    """
    sites = [m for m in measured if m.group.column == column]
    return tuple(_combined(column, metric, sites, level) for metric in metrics) if sites else ()


def _masks(column: str | Banded, rows: Sequence[Record]) -> Iterator[tuple[str, AnyArray]]:
    """(value, mask) of each group of a column, the commonest pattern or value in order of name; nothing if there is one group."""
    values = np.array(_cells(column, rows))
    names = sorted(set(values))
    if isinstance(column, Banded):
        names = [name for name in (*_bands(column.bands), _NOT_STATED) if name in names]
    if len(names) > 1 or column != PATTERN:
        yield from ((str(name), values == name) for name in names)


def _cells(column: str | Banded, rows: Sequence[Record]) -> list[str]:
    if column == PATTERN:
        return [r.pattern or _NOT_STATED for r in rows]
    name = column if isinstance(column, str) else column.column
    known = {c for r in rows for c in r.columns}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        msg = f"Expected the subgroup column {name!r} in the predictions; there is none.{hint}"
        raise TaskError(msg)
    cells = [r.columns.get(name, "") for r in rows]
    if isinstance(column, str):
        return [cell or _NOT_STATED for cell in cells]
    return _banded(cells, column)


def _banded(cells: Sequence[str], column: Banded) -> list[str]:
    names = _bands(column.bands)
    try:
        return [names[int(np.searchsorted(column.bands, float(c), side="right"))] if c else _NOT_STATED for c in cells]
    except ValueError:
        msg = f"Expected numbers or nothing in the banded column {column.column!r}; got something else."
        raise TaskError(msg) from None


def _bands(bands: Sequence[float]) -> list[str]:
    """`<40`, `40-65` (65 belongs to the next), `>=65`."""
    between = [f"{a:g}-{b:g}" for a, b in pairwise(bands)]
    return [f"<{bands[0]:g}", *between, f">={bands[-1]:g}"]


def _measure(
    column: str, value: str, mask: AnyArray, side: Side, metrics: Sequence[Metric], resampling: Resampling, task: Task
) -> Measured:
    scores = side.scores.take(mask)
    group = Group(
        column=column,
        value=value,
        n=len(scores),
        patients=len({r.patient_id for r, inside in zip(side.rows, mask, strict=True) if inside}),
        positives={label: int(np.nansum(scores.target[:, k])) for k, label in enumerate(scores.labels)},
        suppressed=_too_small(scores.target, task),
    )
    if group.suppressed is not None:
        return Measured(group, None)
    found = resampling.estimate(scores, metrics)
    return Measured(group.model_copy(update={"metrics": {m.name: resampling.value(m, found) for m in metrics}}), found)


def _too_small(target: AnyArray, task: Task) -> str | None:
    policy = task.subgroups
    if len(target) < policy.min_n:
        return f"fewer than {policy.min_n} samples"
    events = np.minimum((target == 1).sum(0), (target == 0).sum(0)).max()
    return f"fewer than {policy.min_events} samples with and without any label" if events < policy.min_events else None


def _gap(column: str, metric: Metric, shown: Sequence[Measured], resampling: Resampling) -> Gap:
    ranked = sorted(shown, key=lambda m: (_point(m, metric), m.group.value))
    lowest, highest = ranked[0], ranked[-1]
    assert lowest.found is not None
    assert highest.found is not None
    best, worst = (highest, lowest) if metric.better == "higher" else (lowest, highest)
    gap = resampling.value(metric, highest.found - lowest.found).model_copy(update={"better": "lower"})
    return Gap(column=column, metric=metric.name, best=best.group.value, worst=worst.group.value, gap=gap)


def _point(measured: Measured, metric: Metric) -> float:
    return np.nan if measured.found is None else measured.found.points[metric.name]


def _combined(column: str, metric: Metric, sites: Sequence[Measured], level: float) -> Heterogeneity:
    share = metric.better == "higher" and (metric.low, metric.high) == (0.0, 1.0)
    to, back = (logit, expit) if share else (np.asarray, np.asarray)
    effects, variances = [], []
    for site in sites:
        if (found := _effect(site, metric, share=share)) is not None:
            effects.append(float(to(found[0])))
            variances.append(float(np.var(to(found[1]), ddof=1)))
    about = Heterogeneity(
        column=column,
        metric=metric.name,
        sites=len(effects),
        mean=Value(value=None, reason="needs two sites with enough samples and an interval", better=metric.better),
        scale="logit" if share else "identity",
        tau=None,
        prediction_low=None,
        prediction_high=None,
    )
    if len(effects) < 2:
        return about
    combined = random_effects(np.array(effects), np.array(variances), level)
    low, high = (float(back(x)) for x in combined.prediction) if combined.prediction else (None, None)
    mean, mean_low, mean_high = (float(back(x)) for x in (combined.mean, combined.low, combined.high))
    value = Value(value=mean, low=mean_low, high=mean_high, better=metric.better, interval="random effects, HKSJ")
    return about.model_copy(update={"mean": value, "tau": combined.tau, "prediction_low": low, "prediction_high": high})


def _effect(site: Measured, metric: Metric, *, share: bool) -> tuple[float, FloatArray] | None:
    """Value and usable draws of a site; None where there is no variance to be had, as at exactly 0 or 1 of a share."""
    if site.found is None or np.isnan(value := site.found.points[metric.name]):
        return None
    drawn = site.found.drawn[metric.name]
    usable = drawn[(drawn > 0) & (drawn < 1)] if share else drawn[~np.isnan(drawn)]
    enough = len(usable) * 2 > len(drawn) and np.ptp(usable) > 0
    return (value, usable) if enough and (not share or 0 < value < 1) else None
