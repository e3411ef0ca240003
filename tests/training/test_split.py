"""Patients to sides: nobody on two, classes in proportion, stated splits kept."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medmm.errors import CohortError
from medmm.sources.cohort import Case
from medmm.training.split import fold_of_cases, split_cases

FRACTIONS = (0.6, 0.15, 0.25)


def case(index: int, patient: int, label: int, split: str | None = None, classes: int = 2) -> Case:
    return Case(f"S{index}", f"P{patient}", (), "note", np.eye(classes)[label], split, {})


def cohort(n: int, per_patient: int = 1, positive: float = 0.5) -> list[Case]:
    return [
        case(i, i // per_patient, int(i // per_patient * 7 % 10 < 10 * positive)) for i in np.random.default_rng(0).permutation(n)
    ]


def sides_of_patients(cases: tuple[Case, ...]) -> dict[str, set[str | None]]:
    sides: dict[str, set[str | None]] = {}
    for c in cases:
        sides.setdefault(c.patient_id, set()).add(c.split)
    return sides


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 1)), min_size=12, max_size=70), st.integers(0, 50))
def test_no_patient_ever_stands_on_two_sides(rows: list[tuple[int, int]], seed: int) -> None:
    rows = [*rows, (30, 0), (31, 0), (32, 1), (33, 1)]
    cases = [case(i, patient, label) for i, (patient, label) in enumerate(rows)]
    done = split_cases(cases, FRACTIONS, seed)
    assert all(len(sides) == 1 for sides in sides_of_patients(done).values())
    assert [c.study_id for c in done] == [c.study_id for c in cases]
    assert {c.split for c in done} <= {"train", "val", "test"}


@pytest.mark.parametrize("per_patient", [1, 3])
def test_sides_have_their_share_of_studies_and_of_each_class(per_patient: int) -> None:
    done = split_cases(cohort(600, per_patient, positive=0.3), FRACTIONS, 0)
    count = Counter(c.split for c in done)
    for side, share in zip(("train", "val", "test"), FRACTIONS, strict=True):
        assert count[side] / 600 == pytest.approx(share, abs=0.03)
        positive = np.mean([c.target[1] for c in done if c.split == side])  # type: ignore[index]
        assert positive == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("n", [12, 20, 24, 30, 38])
def test_a_small_cohort_without_a_split_is_divided_too(n: int) -> None:
    count = Counter(c.split for c in split_cases(cohort(n), FRACTIONS, 0))
    assert count["train"] >= n / 2
    assert count["test"] >= 2


def test_the_seed_decides() -> None:
    cases = cohort(100)
    one, same, other = (split_cases(cases, FRACTIONS, seed) for seed in (1, 1, 2))
    assert [c.split for c in one] == [c.split for c in same]
    assert [c.split for c in one] != [c.split for c in other]


def test_a_stated_split_is_kept() -> None:
    cases = [case(i, i, i % 2, ("train", "val", "test")[i % 3]) for i in range(30)]
    assert split_cases(cases, FRACTIONS, 0) == tuple(cases)


def test_a_missing_validation_side_is_taken_from_training_patients_only() -> None:
    cases = [case(i, i // 2, i // 2 % 2, "test" if i < 40 else "train") for i in range(140)]
    done = split_cases(cases, FRACTIONS, 0)
    assert [c.split for c in done[:40]] == ["test"] * 40
    val = [c for c in done if c.split == "val"]
    assert len(val) / 100 == pytest.approx(0.15 / 0.75, abs=0.04)
    assert all(len(sides) == 1 for sides in sides_of_patients(done).values())


@pytest.mark.parametrize("stated", [["train", None], ["test", "val"]])
def test_a_split_that_leaves_somebody_out_is_refused(stated: list[str | None]) -> None:
    with pytest.raises(CohortError, match="split"):
        split_cases([case(i, i, i % 2, stated[i % 2]) for i in range(20)], FRACTIONS, 0)


@pytest.mark.parametrize("folds", [0, 1, 21, 50])
def test_a_number_of_folds_that_cannot_be_made_is_refused(folds: int) -> None:
    with pytest.raises(CohortError, match=f"2 to 20 folds.*got {folds}"):
        fold_of_cases(cohort(40), folds, 0)


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_hold_whole_patients_and_every_class(folds: int) -> None:
    cases = cohort(120, per_patient=2)
    fold = fold_of_cases(cases, folds, 0)
    assert set(fold) == set(range(folds))
    homes: dict[str, set[int]] = {}
    for c, f in zip(cases, fold, strict=True):
        homes.setdefault(c.patient_id, set()).add(int(f))
    assert all(len(h) == 1 for h in homes.values())
    for f in range(folds):
        assert {int(c.target.argmax()) for c, g in zip(cases, fold, strict=True) if g == f} == {0, 1}  # type: ignore[union-attr]


def test_combinations_of_labels_are_spread_over_the_sides() -> None:
    rows = [Case(f"S{i}", f"P{i}", (), "x", np.array([i % 2, i // 2 % 2, np.nan]), None, {}) for i in range(200)]
    done = split_cases(rows, FRACTIONS, 0)
    for side in ("train", "val", "test"):
        found = Counter(tuple(c.target[:2]) for c in done if c.split == side)  # type: ignore[index]
        assert len(found) == 4
        assert max(found.values()) - min(found.values()) <= 6
