"""Cohorts on the page, with its real processes: predicted, stopped and gone on with, found after a reload, removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medmm.errors import CancelledError, CohortError, LeakageError, ModelError
from medmm.shelf import example_cohort, examples
from medmm.table import read_rows
from medmm.ui.batch_views import standing
from medmm.ui.page import Page

TICKET, OTHER = "a" * 32, "b" * 32


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    made = Page("sts51")
    yield made
    made.close()


@pytest.fixture
def put(page: Page, send: Any) -> Any:
    return lambda content: send(page.sessions, content, "SECRET.csv")


def test_the_example_cohort_says_what_the_examples_say() -> None:
    table = example_cohort()
    assert table is not None
    told = {e.path.name: e for e in examples()}
    for row in read_rows(table, CohortError):
        example = told[row["image"]]
        assert row["note"] == example.note
        assert (row["label"] == "lung_mets") == ("developed lung metastases" in example.truth)


def test_a_cohort_is_stopped_gone_on_with_after_a_reload_and_removed(page: Page) -> None:
    table = example_cohort()
    assert table is not None
    batches = page.batches
    assert batches.greet("before", TICKET) is None
    batches.example(table, "before")
    batch, job = batches.start("before", "sts51")
    while not job.phase.startswith("1 "):
        assert not job.done.wait(0.02)
    batches.leave("before")
    with pytest.raises(CancelledError):
        job.result()

    assert batches.greet("somebody else", OTHER) is None
    assert batches.greet("after", TICKET) is batch
    assert batches.example(table, "after") is batch  # the same once more is the same
    _, again = batches.start("after", "sts51")
    found = again.result()
    assert found["resumed"] >= 1
    assert [(row["study_id"], row["code"]) for row in found["rows"]] == [
        (row["study_id"], "") for row in read_rows(table, CohortError)
    ]
    assert found["results"]["counts"]["total"] == 4
    batch.results["sts51"] = found
    assert {name for name in ("predictions.csv", "metrics.json", "report.html", "failures.csv") if batch.file(name)} == {
        "predictions.csv", "metrics.json", "report.html", "failures.csv",
    }  # fmt: skip
    assert batch.file("predictions.sqlite") is None
    assert batches.behind(batch.token, "") is batch
    page.sessions.visitors.meet("thief", "v" * 32)  # another browser, which has learned ticket and token
    assert batches.greet("thief", TICKET) is None
    assert batches.behind(batch.token, "v" * 32) is None
    assert "4 of 4" in standing(batch, "en")

    batches.forget("after")
    assert not batch.folder.exists()
    assert batches.behind(batch.token, "") is None
    with pytest.raises(CohortError, match="Upload"):
        batches.start("after", "sts51")


def test_a_failed_study_is_a_row_with_a_reason_and_no_label_is_no_measurement(page: Page, put: Any) -> None:
    batches = page.batches
    batches.greet("anna", OTHER)
    rows = b"study_id,patient_id,image,note\n=1+1,P,nowhere.zip,\nS,P,,A sarcoma of the thigh.\n"
    batch = batches.take([put(rows)], "anna")
    assert (batch.rows, batch.labelled) == (2, 0)
    assert [p for p in page.sessions.root.rglob("*") if "SECRET" in p.name] == []
    assert batches.take([put(rows)], "anna") is batch
    with pytest.raises(ModelError):
        batches.start("anna", "phantom")
    _, job = batches.start("anna", "sts51")
    found = job.result()
    batch.results["sts51"] = found
    assert [row["code"] for row in found["rows"]] == ["E_NO_IMAGE", ""]
    assert (found["results"], found["unscored"]) == (None, None)
    for language, hint in (("en", "There is nothing readable"), ("zh", "没有可作为影像")):
        html = standing(batch, language)  # type: ignore[arg-type]
        assert "E_NO_IMAGE" in html
        assert hint in html
    for name in ("predictions.csv", "failures.csv"):
        file = batch.file(name)
        assert file is not None
        assert "'=1+1" in file.read_text()
    assert batch.file("metrics.json") is None
    batches.forget("anna")


def test_patients_the_model_was_fitted_on_are_refused(page: Page, put: Any) -> None:
    batches = page.batches
    batches.take([put(b"study_id,patient_id,note,split\nX,STS_001,A note.,test\n")], "ben")
    with pytest.raises(LeakageError):
        batches.start("ben", "sts51")[1].result()
    batches.forget("ben")


def test_two_tables_or_nothing_are_no_cohort(page: Page, put: Any, patient_zip: Path) -> None:
    for uploads in ([], [put(b"a"), put(b"b")], [put(patient_zip.read_bytes()) for _ in range(2)]):
        with pytest.raises(CohortError, match="one CSV"):
            page.batches.take(uploads, "carla")
