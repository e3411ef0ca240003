"""Every form of a rule against results whose numbers are known."""

from __future__ import annotations

import pytest

from medmm.errors import TaskError
from medmm.evaluation.gate import check_gate, parse_rule, read_rules
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.results import Comparison, Group, Results, RunComparison, Value
from medmm.store import Record


@pytest.fixture(scope="module")
def results() -> Results:
    """Real results with the numbers of one arm, two groups and the counts replaced by known ones."""
    p = (0.1, 0.4, 0.35, 0.8, 0.3, 0.6, 0.9, 0.2)
    rows = [
        Record(f"s{i}", f"p{i}", i, "full", target=(1.0 - i % 2, float(i % 2)), probability=(1 - v, v)) for i, v in enumerate(p)
    ]
    real = score(
        Predictions("binary", ("no", "yes"), tuple(rows), {"type": "t"}),
        Task(name="t", metrics=["auroc"], intervals={"replicates": 100}),
    )
    known = {
        "auroc": Value(value=0.8, low=0.7, high=0.9, better="higher"),
        "brier": Value(value=0.2, low=0.15, high=0.3, better="lower"),
        "cal_slope": Value(value=0.9, low=0.6, high=1.1, better="target"),
        "cal_slope[a.b]": Value(value=0.9, low=0.6, high=1.1, better="target"),
        "cal_slope[c]": Value(value=0.5, low=0.4, high=0.7, better="target"),
        "f1[yes]": Value(value=None, reason="never called", better="higher"),
        "f1_macro": Value(value=0.5, better="higher"),
    }
    men, women = (
        {n: known[n].model_copy(update={"value": v}) for n, v in zip(("auroc", "brier"), x, strict=True)}
        for x in ((0.9, 0.1), (0.6, 0.3))
    )
    groups = [
        Group(column=column, value=value, n=9, patients=9, positives={}, metrics=metrics, suppressed=why)
        for column, value, metrics, why in (
            ("sex", "m", men, None), ("sex", "f", women, None), ("sex", "x", {}, "fewer than 50 samples"),
            ("age", ">=65", {}, "fewer than 50 samples"),
        )
    ]  # fmt: skip
    counts = real.counts.model_copy(update={"total": 200, "failed": 2, "scored": 190, "unlabelled": 8, "patients": 100})
    arm = real.arms[0].model_copy(update={"metrics": known})
    return real.model_copy(update={"arms": (arm, real.arms[1]), "groups": tuple(groups), "counts": counts})


@pytest.mark.parametrize(
    ("rule", "passed"),
    [
        ("auroc >= 0.8", True),
        ("auroc > 0.8", False),
        ("auroc.value<=0.8", True),
        ("auroc.ci_low >= 0.7", True),
        ("auroc.ci_low > 0.7", False),
        ("auroc.ci_high < 0.95", True),
        ("brier <= 2e-1", True),
        ("cal_slope covers 1", True),
        ("cal_slope covers 1.2", False),
        ("cal_slope[c] covers 1", False),
        ("cal_slope[a.b] covers 1", True),
        ("cal_slope[*] covers 1", False),
        ("cal_slope[*] covers .65", True),
        ("auroc[*] >= 0.7", True),
        ("f1[yes] >= 0", False),
        ("f1_macro >= 0.5", True),
        ("f1_macro.ci_low >= 0", False),
        ("f1_macro covers 0.5", False),
        ("failed_fraction <= 0.01", True),
        ("failed_fraction < 0.01", False),
        ("unlabelled_fraction <= 0.04", True),
        ("n >= 190", True),
        ("patients > 100", False),
        ("arm[prevalence].auroc <= 0.5", True),
        ("arm[full].auroc >= 0.8", True),
        ("group[sex=f].auroc >= 0.7", False),
        ("group[sex=m].auroc >= 0.7", True),
        ("group[sex=x].auroc >= 0", False),
        ("group[age=>=65].auroc >= 0", False),
        ("worst[sex].auroc >= 0.6", True),
        ("worst[sex].auroc >= 0.61", False),
        ("worst[sex].brier <= 0.29", False),
        ("worst[age].auroc >= 0", False),
    ],
)
def test_a_rule_holds_or_not(results, rule, passed) -> None:
    (check,) = check_gate((rule,), results)
    assert check.passed is passed, check


def test_what_was_measured_or_why_not_is_said(results) -> None:
    said = {
        c.rule: c.measured
        for c in check_gate(
            ("auroc.ci_low >= 0.9", "f1[yes] > 0", "f1_macro.ci_low > 0", "group[sex=x].auroc > 0", "cal_slope[*] covers 1"),
            results,
        )
    }
    assert said["auroc.ci_low >= 0.9"] == "auroc = 0.8 [0.7, 0.9]"
    assert said["f1[yes] > 0"] == "f1[yes] is undefined: never called"
    assert said["f1_macro.ci_low > 0"] == "f1_macro = 0.5 has no interval"
    assert said["group[sex=x].auroc > 0"] == "auroc is undefined: fewer than 50 samples"
    assert said["cal_slope[*] covers 1"] == "cal_slope[c] = 0.5 [0.4, 0.7]"


def test_a_difference_needs_a_baseline(results) -> None:
    with pytest.raises(TaskError, match="--baseline"):
        check_gate(("delta.auroc.ci_low > -0.02",), results)
    differences = [
        Comparison(first="a", second="b", metric=m, n=9, difference=d, low=low, high=high, excludes_zero=False)
        for m, d, low, high in (("auroc", 0.0, -0.01, 0.01), ("f1_macro", -0.1, -0.2, 0.0), ("brier", None, None, None))
    ]
    against = RunComparison(
        **results.model_dump(include={"medmm", "disclaimer", "task", "task_sha256", "kind", "labels", "split", "intervals"}),
        first={}, second={}, n=9, patients=9, left_out=0, arms=(), comparisons=tuple(differences), notes=(),
    )  # fmt: skip
    rules = ("delta.auroc.ci_low > -0.02", "delta.f1_macro.ci_low > -0.02", "delta.f1_macro covers 0", "delta.brier <= 0")
    assert [c.passed for c in check_gate(rules, results, against)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("aurok >= 0.8", "Did you mean auroc"),
        ("delta >= 0", "delta"),
        ("auroc", "Expected a rule such as"),
        ("auroc == 0.8", "Expected a rule such as"),
        ("auroc >= high", "Expected a rule such as"),
        ("auroc.ci_low.ci_high >= 1", "Expected a rule such as"),
        (">= 1", "Expected a rule such as"),
        ("__import__('os').system('true') >= 1", "Expected a rule such as"),
        ("arm[audio].auroc >= 0", "full, prevalence"),
        ("group[sex=other].auroc >= 0", "sex=m"),
        ("worst[site].auroc >= 0", "age, sex"),
        ("worst[sex].cal_slope covers 1", "was not"),
    ],
)
def test_a_rule_that_cannot_be_understood_is_invalid_and_not_failed(results, rule, said) -> None:
    with pytest.raises(TaskError, match=said.replace("[", r"\[")):
        check_gate((rule,), results)


def test_no_rules_are_no_gate(results) -> None:
    with pytest.raises(TaskError, match="there are none"):
        check_gate((), results)


def test_brackets_hold_anything() -> None:
    rule = parse_rule("group[age=40-65].specificity_at[Lung nodule, >= 4 mm,0.95].ci_low >= -1.5e-3")
    assert (rule.scope, rule.metric) == ("group[age=40-65]", "specificity_at[Lung nodule, >= 4 mm,0.95]")
    assert (rule.field, rule.test, rule.number) == ("ci_low", ">=", -0.0015)


def test_rules_come_from_a_file(tmp_path) -> None:
    (tmp_path / "rules.yaml").write_text('rules:\n  - "auroc >= 0.8"\n  - n >= 50\n')
    assert read_rules(tmp_path / "rules.yaml") == ("auroc >= 0.8", "n >= 50")
    for content in ("rules: 3", "rule: []", "{", ""):
        (tmp_path / "rules.yaml").write_text(content)
        with pytest.raises(TaskError):
            read_rules(tmp_path / "rules.yaml")
    with pytest.raises(TaskError):
        read_rules(tmp_path / "absent.yaml")


def test_rules_that_would_be_lost_are_refused(tmp_path) -> None:
    (tmp_path / "rules.yaml").write_text('rules:\n  - "auroc >= 0.8"\nrules:\n  - n >= 50\n')
    with pytest.raises(TaskError, match="'rules' stands twice, in lines 1 and 3"):
        read_rules(tmp_path / "rules.yaml")
    (tmp_path / "rules.yaml").write_text("rules:\n" + "  - n >= 50\n" * 100_000 + '  - "auroc >= 0.8"\n')
    with pytest.raises(TaskError, match="over 1 MB"):
        read_rules(tmp_path / "rules.yaml")
