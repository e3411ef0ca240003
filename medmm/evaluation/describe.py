"""Who was scored: where every sample went, and what the sides of the split are like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from medmm.evaluation.policies import Banded
from medmm.evaluation.predictions import UNCERTAIN
from medmm.evaluation.task import Task
from medmm.results import Characteristic, Counts, LabelCount
from medmm.store import FULL_ARM, Record

_CATEGORIES = 12


def count(rows: Sequence[Record], stated: Iterable[Record], labels: Sequence[str]) -> Counts:
    """Where every sample went.

    Args:
        rows: Of the full arm and the scored split, one a unit.
        stated: The rows they were made of, with uncertain labels as they came.
        labels: Names.
    """
    failed = Counter(r.code for r in rows if r.failed)
    answered = [r for r in rows if not r.failed]
    scored = [r for r in answered if any(t is not None for t in r.target)]
    targets = [r.target for r in stated]
    return Counts(
        total=len(rows),
        scored=len(scored),
        failed=sum(failed.values()),
        unlabelled=len(answered) - len(scored),
        patients=len({r.patient_id for r in scored}),
        failures=dict(sorted(failed.items())),
        labels={label: _label_count([t[k] for t in targets if t]) for k, label in enumerate(labels)},
    )


def characteristics(records: Iterable[Record], task: Task, unnamed: str) -> tuple[Characteristic, ...]:
    """What each side of the split is like in the columns the task names: only those, as others may hold free text.

    Args:
        records: Of all splits.
        task: Names the columns: subgroups and site.
        unnamed: Side of rows that state none.
    """
    sides: dict[str, list[Record]] = {}
    for r in records:
        if r.arm == FULL_ARM:
            sides.setdefault(r.split or unnamed, []).append(r)
    named = [c.column if isinstance(c, Banded) else c for c in task.subgroups.columns] + (
        [task.unit.site] if task.unit.site else []
    )
    numbers = {c.column for c in task.subgroups.columns if isinstance(c, Banded)}
    patterns = {split: [r.pattern for r in rows] for split, rows in sorted(sides.items())}
    found = [_characteristic("pattern", patterns, is_number=False)] if any(any(p) for p in patterns.values()) else []
    for column in dict.fromkeys(named):
        cells = {split: [r.columns.get(column, "") for r in rows] for split, rows in sorted(sides.items())}
        found.append(_characteristic(column, cells, is_number=column in numbers))
    return tuple(found)


def _label_count(values: Sequence[float | None]) -> LabelCount:
    kinds = Counter("unknown" if v is None else "uncertain" if v == UNCERTAIN else "positive" if v else "negative" for v in values)
    return LabelCount(**{kind: kinds[kind] for kind in ("positive", "negative", "uncertain", "unknown")})


def _characteristic(column: str, cells: dict[str, list[str]], *, is_number: bool) -> Characteristic:
    summary = _quartiles if is_number else _shares
    return Characteristic(
        column=column,
        by_split={split: summary([c for c in given if c]) for split, given in cells.items()},
        missing={split: sum(not c for c in given) for split, given in cells.items()},
    )


def _quartiles(cells: Sequence[str]) -> dict[str, float]:
    if not cells:
        return {}
    q1, median, q3 = np.quantile([float(c) for c in cells], [0.25, 0.5, 0.75])
    return {"q1": float(q1), "median": float(median), "q3": float(q3)}


def _shares(cells: Sequence[str]) -> dict[str, float]:
    """Of the commonest values; the rest together."""
    found = Counter(cells).most_common()
    shown = {name: n / len(cells) for name, n in sorted(found[:_CATEGORIES])}
    rest = sum(n for _, n in found[_CATEGORIES:])
    return shown | ({"others": rest / len(cells)} if rest else {})
