"""Patients to sides: a split that no patient straddles, with classes in proportion."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medmm.errors import CohortError, LeakageError
from medmm.sources.cohort import SPLITS, Case
from medmm.types import IntArray

_PARTS = 20


def split_cases(cases: Sequence[Case], fractions: tuple[float, float, float], seed: int) -> tuple[Case, ...]:
    """Give every case a split.

    A split stated in the cohort is kept. If it has no `val`, a share of the training patients
    becomes `val`. Without any split, patients are divided by `fractions`.

    Args:
        cases: Labelled cases.
        fractions: Shares of train, val and test.
        seed: Seed of the division.

    Raises:
        CohortError: If the stated split leaves cases without a side, or nothing to train on.
    """
    stated = {c.split for c in cases}
    if stated == {None}:
        return _divide(cases, dict(zip(SPLITS, fractions, strict=True)), seed)
    if None in stated or "train" not in stated:
        msg = "Expected a split for every row, with some in train; at least one row has none. Fill in the split column."
        raise CohortError(msg)
    if "val" in stated:
        return tuple(cases)
    train = [c for c in cases if c.split == "train"]
    share = fractions[1] / (fractions[0] + fractions[1])
    divided = {c.study_id: c for c in _divide(train, {"train": 1 - share, "val": share}, seed)}
    return tuple(divided.get(c.study_id, c) for c in cases)


def split_unlabelled(cases: Sequence[Case], fractions: tuple[float, float, float], seed: int) -> tuple[Case, ...]:
    """Give every case a split for learning without labels.

    A stated split is kept, and labelled patients are divided as `split_cases` divides them, so that who will be
    measured later stays unseen; their other studies follow them. All other patients become `train` or `val`.

    Args:
        cases: Labelled or not.
        fractions: Shares of train, val and test of the labelled.
        seed: Seed of the division.

    Raises:
        CohortError: If the stated split leaves cases without a side, or nothing to learn from.
    """
    if any(c.split for c in cases):
        return split_cases(cases, fractions, seed)
    labelled = [c for c in cases if c.target is not None]
    divided = split_cases(labelled, fractions, seed) if labelled else ()
    side = {c.patient_id: c.split for c in divided}
    rest = [c for c in cases if c.patient_id not in side]
    if rest:
        train, val, test = fractions
        side |= {c.patient_id: c.split for c in _divide(rest, {"train": train + test, "val": val}, seed)}
    return tuple(replace(c, split=side[c.patient_id]) for c in cases)


def fold_of_cases(cases: Sequence[Case], folds: int, seed: int) -> IntArray:
    """(n,) fold 0 to folds - 1 of each case, whole patients together, classes in proportion."""
    from sklearn.model_selection import StratifiedGroupKFold

    classes = _classes(cases)
    patients = np.unique([c.patient_id for c in cases], return_inverse=True)[1]
    most = min(int(patients.max()) + 1, int(np.bincount(classes).max()))
    if not 2 <= folds <= most:
        msg = f"Expected 2 to {most} folds of whole patients for this cohort; got {folds}. Use another number or more patients."
        raise CohortError(msg)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold = np.zeros(len(cases), dtype=int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a rare class with fewer members than folds is fine here
        for index, (_, members) in enumerate(splitter.split(classes, classes, patients)):
            fold[members] = index
    return fold


def folds_of(cases: Sequence[Case], folds: str | int, seed: int) -> IntArray:
    """(n,) fold of each case, by number or by the column that names them.

    Raises:
        CohortError: If the column is not filled in, or names one fold.
        LeakageError: If a patient stands in two folds.
    """
    if isinstance(folds, int):
        return fold_of_cases(cases, folds, seed)
    values = [c.columns.get(folds, "") for c in cases]
    if not all(values) or len(set(values)) < 2:
        msg = f"Expected a column {folds!r} with a fold for every labelled row and at least two folds; there is none."
        raise CohortError(msg)
    torn = len({(c.patient_id, v) for c, v in zip(cases, values, strict=True)}) - len({c.patient_id for c in cases})
    if torn:
        msg = f"Expected every patient in one fold; {torn} times one stands in another too. Divide by patient, not by study."
        raise LeakageError(msg)
    return np.unique(values, return_inverse=True)[1]


def _divide(cases: Sequence[Case], shares: dict[str, float], seed: int) -> tuple[Case, ...]:
    patients = len({c.patient_id for c in cases})
    parts = min(_PARTS, patients, int(np.bincount(_classes(cases)).max()))
    fold = fold_of_cases(cases, parts, seed)
    bounds = np.rint(np.cumsum(list(shares.values())) / sum(shares.values()) * parts)
    names = list(shares)
    return tuple(replace(c, split=names[int(np.searchsorted(bounds, f, side="right"))]) for c, f in zip(cases, fold, strict=True))


def _classes(cases: Sequence[Case]) -> IntArray:
    """One class number a case; multilabel combinations count as classes."""
    keys = ["".join("?" if np.isnan(t) else str(int(t)) for t in c.target) if c.target is not None else "" for c in cases]
    return np.unique(keys, return_inverse=True)[1]
