"""The samples of a run: what was true, what was called, and how sure each arm was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medmm.evaluation.predictions import from_store
from medmm.metrics import decide
from medmm.results import Results
from medmm.store import FULL_ARM, Record


@dataclass(frozen=True, slots=True)
class Case:
    """One sample.

    Attributes:
        sample_id: Name.
        truth, called: Labels, joined by commas.
        wrong: Confidence in the worst wrong answer, 0 to 1; None when all are right, unknown, or failed.
        pattern: Modalities used.
        code: Reason of a failure, empty otherwise.
        by_arm: Probability of each label, arm by arm.
    """

    sample_id: str
    truth: str
    called: str
    wrong: float | None
    pattern: str
    code: str
    by_arm: dict[str, dict[str, float]]


def read_cases(folder: Path, results: Results) -> tuple[Case, ...]:
    """All samples of the scored split, those most confidently wrong first.

    Args:
        folder: Run folder.
        results: Measured from it; its thresholds decide where the run states no decisions.

    Raises:
        MedmmError: If the run cannot be read.
    """
    predictions = from_store(folder)
    by_sample: dict[str, list[Record]] = {}
    for r in predictions.records:
        if r.split in ("", results.split) or results.split == "all":
            by_sample.setdefault(r.sample_id, []).append(r)
    cases = [_case(rows, predictions.labels, results) for rows in by_sample.values()]
    return tuple(sorted(cases, key=lambda case: -1 if case.wrong is None else case.wrong, reverse=True))


def _case(rows: Sequence[Record], labels: Sequence[str], results: Results) -> Case:
    full = next((r for r in rows if r.arm == FULL_ARM), rows[0])
    called = _called(full, labels, results)
    return Case(
        sample_id=full.sample_id,
        truth=", ".join(name for name, t in zip(labels, full.target, strict=False) if t) or _nothing(full),
        called="" if full.failed else ", ".join(called) or "nothing",
        wrong=None if full.failed else _confidence_in_error(full, labels, called),
        pattern=full.pattern,
        code=full.code,
        by_arm={r.arm: dict(zip(labels, r.probability, strict=True)) for r in rows if not r.failed},
    )


def _nothing(record: Record) -> str:
    return "unknown" if all(t is None for t in record.target) else "nothing"


def _called(record: Record, labels: Sequence[str], results: Results) -> tuple[str, ...]:
    if record.failed or record.called:
        return record.called
    limits = results.arms[0].decision.thresholds
    found = decide(results.kind, np.array([record.probability]), None if limits is None else np.array(limits))[0]
    return tuple(name for name, yes in zip(labels, found, strict=True) if yes)


def _confidence_in_error(record: Record, labels: Sequence[str], called: Sequence[str]) -> float | None:
    """Probability given to the wrong call: of the label called, or of its absence where it was missed."""
    errors = [
        p if name in called else 1 - p
        for name, p, t in zip(labels, record.probability, record.target, strict=True)
        if t is not None and (name in called) != bool(t)
    ]
    return max(errors, default=None)
