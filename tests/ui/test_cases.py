"""Samples of a run: what was called, and how sure of it the model was where it was wrong."""

from __future__ import annotations

import pytest

from medmm.ui.cases import read_cases


def row(sample: str, p: float | None, label: str, **more) -> dict[str, object]:
    answer = {} if p is None else {"p__no": 1 - p, "p__yes": p}
    return {"sample_id": sample, "split": "test", "pattern": "image+text", "label": label} | answer | more


ROWS = [
    row(sample, p, label, arm=arm, code="" if p is not None else "E_GEOMETRY")
    for sample, p, label in (
        ("s0", 0.9, "yes"), ("s1", 0.8, "no"), ("s2", 0.1, "yes"), ("s3", 0.3, "no"), ("s4", 0.6, ""), ("s5", None, "yes"),
    )
    for arm in ("full", "image")
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory, imported):
    folder = tmp_path_factory.mktemp("run")
    return folder, imported(folder, ROWS)


def test_the_most_confident_error_comes_first_and_failures_last(run) -> None:
    folder, results = run
    cases = {c.sample_id: c for c in read_cases(folder, results)}
    assert list(cases)[:2] == ["s2", "s1"]
    assert cases["s2"].wrong == pytest.approx(0.9)
    assert cases["s1"].wrong == pytest.approx(0.8)
    assert [cases[s].wrong for s in ("s0", "s3", "s4", "s5")] == [None] * 4
    assert (cases["s1"].truth, cases["s1"].called, cases["s1"].pattern) == ("no", "yes", "image+text")
    assert (cases["s4"].truth, cases["s4"].called) == ("unknown", "yes")
    assert (cases["s5"].code, cases["s5"].called, cases["s5"].by_arm) == ("E_GEOMETRY", "", {})
    assert cases["s1"].by_arm["image"] == pytest.approx({"no": 0.2, "yes": 0.8})


def test_stated_decisions_count_before_thresholds(tmp_path, imported) -> None:
    stated = [row(f"s{i}", 0.1, "yes" if i % 2 else "no", called="yes") for i in range(4)]
    cases = read_cases(tmp_path, imported(tmp_path, stated))
    assert {c.called for c in cases} == {"yes"}
    assert [c.wrong for c in cases if c.truth == "no"] == pytest.approx([0.1, 0.1])


def test_in_a_multilabel_run_the_worst_label_counts(tmp_path, imported) -> None:
    given = {"label__a": 1, "label__b": 0, "label__c": "", "p__a": 0.4, "p__b": 0.7, "p__c": 0.99}
    (case,) = read_cases(tmp_path, imported(tmp_path, [{"sample_id": "s", "split": "test"} | given]))
    assert case.wrong == pytest.approx(0.7)  # b called with 0.7, surer than a missed with 0.6
    assert (case.truth, case.called) == ("a", "b, c")
