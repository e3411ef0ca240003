"""Volumes to studies to patients, worked out by hand; uncertain labels by every policy."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest

from medmm.errors import PredictionsError, TaskError
from medmm.evaluation.predictions import Decided, Predictions
from medmm.evaluation.task import Task
from medmm.evaluation.units import to_units
from medmm.store import Record


def rows(*given, kind="binary"):
    """(study, patient, p or p's, target) of each volume."""
    return [
        Record(
            f"v{i}", patient, i, "full", "test", "image", (1.0 - y, float(y)) if kind == "binary" else y,
            (1 - p, p) if kind == "binary" else p, columns={"study_id": study, "sex": "f", "kernel": f"k{i}"},
        )
        for i, (study, patient, p, y) in enumerate(given)
    ]  # fmt: skip


def units(records, kind="binary", labels=("no", "yes"), decided=None, **stated):
    return to_units(Predictions(kind, labels, tuple(records), {"type": "test"}, decided=decided or {}), Task(name="t", **stated))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("max", 0.8), ("mean", 0.5), ("logit_mean", 2 / 3)],
)
def test_two_volumes_become_one_study(rule, expected) -> None:
    # Odds 1 and 4: their geometric mean is 2, and 2 / 3 its probability.
    p = (0.5, 0.8) if rule == "logit_mean" else (0.2, 0.8)
    found = units(rows(("s", "p", p[0], 1), ("s", "p", p[1], 1)), unit={"sample": "study", "rule": rule})
    (unit,) = found.records
    assert unit.probability == pytest.approx((1 - expected, expected))
    assert (unit.sample_id, unit.patient_id, unit.target, unit.pattern) == ("s", "p", (0.0, 1.0), "image")
    assert unit.columns == {"study_id": "s", "sex": "f", "kernel": ""}
    assert any("2 rows were aggregated to 1 units" in note for note in found.notes)


def test_studies_are_kept_apart_and_patients_join_them() -> None:
    given = rows(("s1", "p", 0.2, 0), ("s2", "p", 0.6, 1), ("s3", "q", 0.4, 0))
    assert [r.sample_id for r in units(given, unit={"sample": "study", "rule": "mean"}).records] == ["s1", "s2", "s3"]
    joined = units(given, unit={"sample": "patient", "rule": "mean", "truth": "any"})
    assert [(r.sample_id, r.probability[1], r.target) for r in joined.records] == [
        ("p", pytest.approx(0.4), (0.0, 1.0)), ("q", pytest.approx(0.4), (1.0, 0.0))
    ]  # fmt: skip


def test_rows_of_a_unit_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(PredictionsError, match="one truth"):
        units(rows(("s", "p", 0.2, 0), ("s", "p", 0.6, 1)), unit={"sample": "study", "rule": "mean"})
    with pytest.raises(PredictionsError, match="one patient"):
        units(rows(("s", "p", 0.2, 0), ("s", "q", 0.6, 0)), unit={"sample": "study", "rule": "mean"})


def test_multilabel_labels_are_joined_one_by_one_and_an_unknown_one_does_not_count() -> None:
    given = rows(("s", "p", (0.2, 0.6), (None, 0.0)), ("s", "p", (0.4, 0.8), (1.0, 0.0)), kind="multilabel")
    (unit,) = units(given, "multilabel", ("a", "b"), unit={"sample": "study", "rule": "max"}).records
    assert (unit.probability, unit.target) == ((0.4, 0.8), (1.0, 0.0))


def test_multiclass_is_the_renormalised_geometric_mean_and_has_no_maximum() -> None:
    given = rows(("s", "p", (0.1, 0.1, 0.8), (1.0, 0.0, 0.0)), ("s", "p", (0.4, 0.4, 0.2), (1.0, 0.0, 0.0)), kind="multiclass")
    (unit,) = units(given, "multiclass", ("a", "b", "c"), unit={"sample": "study", "rule": "logit_mean"}).records
    raw = [0.04**0.5, 0.04**0.5, 0.16**0.5]
    assert unit.probability == pytest.approx([x / sum(raw) for x in raw])
    with pytest.raises(TaskError, match="max has no meaning"):
        units(given, "multiclass", ("a", "b", "c"), unit={"sample": "study", "rule": "max"})


def test_a_unit_fails_only_if_all_its_rows_do() -> None:
    given = rows(("s", "p", 0.2, 0), ("s", "p", 0.6, 0), ("t", "q", 0.5, 1))
    given[0] = replace(given[0], code="E_CORRUPT", probability=())
    given[2] = replace(given[2], code="E_NO_IMAGE", probability=())
    first, second = units(given, unit={"sample": "study", "rule": "max"}).records
    assert (first.failed, first.probability[1]) == (False, 0.6)
    assert (second.failed, second.code) == (True, "E_NO_IMAGE")


def test_decisions_are_made_again_by_the_stated_thresholds_or_not_at_all() -> None:
    given = [replace(r, called=("yes",)) for r in rows(("s", "p", 0.1, 0), ("s", "p", 0.3, 0))]
    rule = {"sample": "study", "rule": "mean"}
    known = units(given, decided={"full": Decided("youden", "val", (0.25,))}, unit=rule)
    assert known.records[0].called == ("no",)
    unknown = units(given, decided={"full": Decided("stated", "unknown")}, unit=rule)
    assert (unknown.decided, unknown.records[0].called) == ({}, ())


def test_a_rule_must_be_declared_and_studies_named() -> None:
    for unit in ({"sample": "study"}, {"rule": "max"}):
        with pytest.raises(ValueError, match="declared"):
            Task(name="t", unit=unit)
    with pytest.raises(PredictionsError, match="study_id"):
        units([replace(r, columns={}) for r in rows(("s", "p", 0.2, 0))], unit={"sample": "study", "rule": "max"})


@pytest.mark.parametrize(("policy", "target"), [("ignore", (None, 1.0)), ("negative", (0.0, 1.0)), ("positive", (1.0, 1.0))])
def test_an_uncertain_label_counts_as_the_task_says(policy, target) -> None:
    given = rows(("s", "p", (0.2, 0.6), (-1.0, 1.0)), kind="multilabel")
    assert units(given, "multilabel", ("a", "b"), uncertain=policy).records[0].target == target


def test_an_uncertain_sample_is_settled_as_a_whole_unless_it_would_need_one_of_many_classes() -> None:
    given = [replace(rows(("s", "p", 0.2, 0))[0], target=(-1.0, -1.0))]
    for policy, target in (("ignore", (None, None)), ("negative", (1.0, 0.0)), ("positive", (0.0, 1.0))):
        assert units(given, uncertain=policy).records[0].target == target
    with pytest.raises(TaskError, match="ignore"):
        units(given, "multiclass", ("a", "b"), uncertain="positive")


def test_certain_probabilities_stay_finite_on_the_logit_scale() -> None:
    (unit,) = units(rows(("s", "p", 0.0, 0), ("s", "p", 1.0, 0)), unit={"sample": "study", "rule": "logit_mean"}).records
    assert unit.probability[1] == pytest.approx(0.5, abs=1e-4)
    assert log(unit.probability[1])
