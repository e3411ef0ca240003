"""Anybody's predictions file: every format read alike, every breach of the contract refused by its own error."""

from __future__ import annotations

import pytest

from medmm.errors import NonFiniteError, PredictionsError, StoreError
from medmm.evaluation.predictions import export, from_file, from_store
from medmm.evaluation.score import score
from medmm.evaluation.task import Task

GOOD = [
    {"sample_id": "s1", "patient_id": "p1", "label": "yes", "p__no": 0.25, "p__yes": 0.75},
    {"sample_id": "s2", "patient_id": "p1", "label": "no", "p__no": 0.5, "p__yes": 0.5},
    {"sample_id": "s3", "patient_id": "p2", "label": "", "p__no": 0.9, "p__yes": 0.1},
]
MULTILABEL = [
    {"sample_id": "s1", "label__a": 1, "label__b": 0, "p__a": 0.9, "p__b": 0.2},
    {"sample_id": "s2", "label__a": 0, "label__b": None, "p__a": 0.4, "p__b": 0.3},
]


def changed(rows, index=0, **cells):
    """The rows with other cells in one of them, and the same columns in all."""
    return [{**dict.fromkeys(cells, ""), **row, **(cells if i == index else {})} for i, row in enumerate(rows)]


def without(rows, column):
    return [{k: v for k, v in row.items() if k != column} for row in rows]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_every_format_reads_alike(write, suffix) -> None:
    found = from_file(write(GOOD, suffix))
    assert (found.kind, found.labels) == ("binary", ("no", "yes"))
    assert [r.target for r in found.records] == [(0, 1), (1, 0), (None, None)]
    assert [r.probability for r in found.records] == [(0.25, 0.75), (0.5, 0.5), (0.9, 0.1)]
    assert [(r.sample_id, r.patient_id, r.arm) for r in found.records] == [
        ("s1", "p1", "full"),
        ("s2", "p1", "full"),
        ("s3", "p2", "full"),
    ]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_multilabel_columns_are_recognised_and_an_empty_cell_is_unknown(write, suffix) -> None:
    found = from_file(write(MULTILABEL, suffix))
    assert (found.kind, found.labels) == ("multilabel", ("a", "b"))
    assert [r.target for r in found.records] == [(1.0, 0.0), (0.0, None)]


def test_three_classes_are_a_multiclass_task(write) -> None:
    found = from_file(write([{"sample_id": "s", "label": "b", "p__a": 0.2, "p__b": 0.5, "p__c": 0.3}]))
    assert (found.kind, found.labels, found.records[0].target) == ("multiclass", ("a", "b", "c"), (0, 1, 0))


SINGLE = [{"sample_id": str(i), "label": label, "p": p} for i, (label, p) in enumerate([("healthy", 0.1), ("cancer", 0.9)])]


def test_a_single_p_column_is_the_probability_of_the_second_stated_label(write) -> None:
    found = from_file(write(SINGLE), labels=("healthy", "cancer"))
    assert [r.probability for r in found.records] == [(0.9, 0.1), pytest.approx((0.1, 0.9))]
    assert found.notes == ()


def test_a_guess_at_the_positive_class_is_told_in_the_results(write) -> None:
    results = score(from_file(write(SINGLE)), Task(name="t"))
    assert results.labels == ("cancer", "healthy")
    assert "The single p column was taken as the probability of healthy" in results.notes[0]


def test_stated_labels_decide_the_order_of_columns(write) -> None:
    found = from_file(write(GOOD), labels=("yes", "no"))
    assert found.records[0].probability == (0.75, 0.25)
    assert found.records[0].target == (1, 0)


def test_without_patients_every_sample_is_one(write) -> None:
    assert [r.patient_id for r in from_file(write(without(GOOD, "patient_id"))).records] == ["s1", "s2", "s3"]


def test_a_row_with_a_code_is_a_failure_and_needs_no_probability(write) -> None:
    found = from_file(write(changed(GOOD, 1, code="E_MISSING_SLICES", p__no="", p__yes="")))
    assert [(r.failed, r.code) for r in found.records][:2] == [(False, ""), (True, "E_MISSING_SLICES")]


def test_decisions_in_the_file_are_taken_over(write) -> None:
    rows = [{**row, "called": called} for row, called in zip(GOOD, ("no", "yes", "no"), strict=True)]
    found = from_file(write(rows))
    assert [r.called for r in found.records] == [("no",), ("yes",), ("no",)]
    assert found.decided["full"].policy == "stated"
    assert [r.called for r in from_file(write(changed(MULTILABEL, 0, called="a|b"))).records] == [("a", "b"), ()]


@pytest.mark.parametrize(
    "rows",
    [
        without(GOOD, "sample_id"), without(GOOD, "label"), without(GOOD, "p__no"), without(MULTILABEL, "p__b"),
        changed(GOOD, 1, sample_id="s1"), changed(GOOD, 1, sample_id=""), changed(GOOD, 0, label="maybe"),
        changed(GOOD, 0, p__yes="high"), changed(GOOD, 0, p__yes=""), changed(MULTILABEL, 0, label__a="2"),
        changed(GOOD, 0, called="perhaps"), changed(GOOD, 0, called="no|yes"), changed(GOOD, 0, called="no"),
        [{**GOOD[0], "arm": "full"}, {**GOOD[0], "arm": "image", "label": "no"}],
        [{**GOOD[0], "arm": "full"}, {**GOOD[0], "arm": "image", "patient_id": "p9"}],
        [{"sample_id": "s", "label": label, "p": 0.5} for label in ("only",)],
    ],
    ids=[
        "no sample_id", "no label", "one class", "no p of a label", "repeated sample", "empty sample", "unknown label",
        "text", "no number", "label 2", "unknown decision", "two decisions", "some without decision",
        "label by arm", "patient by arm", "single p of one class",
    ],
)  # fmt: skip
def test_a_file_that_breaks_the_contract_is_refused(write, rows) -> None:
    with pytest.raises(PredictionsError) as error:
        from_file(write(rows))
    assert "s1" not in error.value.message
    assert "given" not in error.value.message


@pytest.mark.parametrize(
    ("cells", "error"),
    [
        ({"p__no": 0.4, "p__yes": 0.4}, PredictionsError),
        ({"p__no": -0.5, "p__yes": 1.5}, PredictionsError),
        ({"p__no": "nan", "p__yes": 0.5}, NonFiniteError),
        ({"p__no": "inf", "p__yes": 0.5}, NonFiniteError),
    ],
)
def test_values_that_are_no_probabilities_are_refused_when_scored(write, cells, error) -> None:
    with pytest.raises(error):
        score(from_file(write(changed(GOOD, 0, **cells))), Task(name="t"))


@pytest.mark.parametrize(
    ("rows", "labels", "kind"),
    [
        (GOOD, (), "multilabel"), (MULTILABEL, (), "binary"), (GOOD, ("yes", "maybe"), None), (MULTILABEL, ("a", "c"), None),
        (SINGLE, ("healthy", "cancer", "unsure"), None), (SINGLE, ("ill", "well"), None),
    ],
)  # fmt: skip
def test_a_file_of_another_task_is_refused(write, rows, labels, kind) -> None:
    with pytest.raises(PredictionsError):
        from_file(write(rows), labels, kind)


def test_some_labels_of_a_multilabel_file_can_be_scored_alone(write) -> None:
    assert from_file(write(MULTILABEL), ("b",)).records[0].probability == (0.2,)


@pytest.mark.parametrize("rows", [GOOD, MULTILABEL], ids=["binary", "multilabel"])
def test_what_is_exported_reads_back_the_same(write, rows, tmp_path) -> None:
    called = {"s1": "yes", "s2": "no", "s3": "no"} if rows is GOOD else {"s1": "a", "s2": ""}
    first = from_file(write([{**row, "called": called[row["sample_id"]], "code": ""} for row in rows]))
    export(first, tmp_path / "again.csv")
    again = from_file(tmp_path / "again.csv")
    assert (again.kind, again.labels, again.records, again.decided) == (first.kind, first.labels, first.records, first.decided)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
@pytest.mark.parametrize("rows", [GOOD, MULTILABEL], ids=["binary", "multilabel"])
def test_an_arm_without_decisions_is_exported_as_one(write, rows, tmp_path, suffix) -> None:
    first = from_file(write(rows))
    assert first.decided == {}
    export(first, tmp_path / f"again{suffix}")
    again = from_file(tmp_path / f"again{suffix}")
    assert (again.records, again.decided) == (first.records, {})


def test_calling_nothing_at_all_is_a_decision_and_not_the_lack_of_one(write, tmp_path) -> None:
    rows = [{**row, "arm": arm, "called": called} for arm, called in (("full", "|"), ("image", "")) for row in MULTILABEL]
    first = from_file(write(rows))
    assert list(first.decided) == ["full"]
    assert {r.called for r in first.records} == {()}
    export(first, tmp_path / "again.csv")
    again = from_file(tmp_path / "again.csv")
    assert (again.records, again.decided) == (first.records, first.decided)


def test_a_folder_without_a_run_is_refused(tmp_path) -> None:
    with pytest.raises(StoreError):
        from_store(tmp_path)
