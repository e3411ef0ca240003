"""The checklist: an item is answered by what is there, never by being on the list."""

from __future__ import annotations

from medmm.report.checklist import ITEMS, checklist
from medmm.report.sections import SECTIONS


def statuses(results) -> dict[str, str]:
    return {answer.item.key: answer.status for answer in checklist(results)}


def test_every_item_is_known_by_one_key_and_leads_to_a_section() -> None:
    assert len({item.key for item in ITEMS}) == len(ITEMS) >= 22
    assert {item.section for item in ITEMS} <= {s.key for s in SECTIONS} | {"top"}
    assert all(item.topic[0].isupper() and not item.topic.endswith(".") for item in ITEMS)


def test_what_was_measured_is_answered_and_the_rest_is_missing(rich_of, results_of) -> None:
    rich, bare = statuses(rich_of()), statuses(results_of())
    measured = {
        "partition",
        "characteristics",
        "missing_data",
        "fairness",
        "heterogeneity",
        "recalibration",
        "robustness",
    }
    always = {"flow", "events", "calibration", "thresholds", "comparison", "uncertainty", "failures", "net_benefit", "abstention"}
    assert {rich[key] for key in measured | always} == {"auto"}
    assert {bare[key] for key in measured} == {"missing"}
    assert {bare[key] for key in always} == {"auto"}


def test_without_confident_errors_none_are_claimed_to_be_shown(results_of) -> None:
    assert statuses(results_of().model_copy(update={"worst": ()}))["failures"] == "missing"


def test_an_author_answers_by_stating_something(rich_of) -> None:
    results = rich_of()
    assert statuses(results)["reference_standard"] == "author"
    assert statuses(results)["funding"] == "missing"
    empty = results.model_copy(update={"statements": {"reference_standard": "  "}})
    assert statuses(empty)["reference_standard"] == "missing"
    (answer,) = [a for a in checklist(results) if a.item.key == "reference_standard"]
    assert answer.statement == "Two radiologists read every scan."


def test_undefined_numbers_answer_nothing(results_of) -> None:
    found = statuses(results_of(n=12, one_class=True))
    assert found["discrimination"] == found["calibration"] == "missing"
    assert found["question"] == found["intended_use"] == "missing"
    assert statuses(results_of(n=12, question="Which?", intended_use="None."))["question"] == "auto"
