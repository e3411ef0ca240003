"""`medmm eval gate`: rules that results must meet, read by a small parser and never executed.

auroc_macro.ci_low >= 0.80            a bound of the interval; .value when nothing is said
cal_slope[*] covers 1                 the interval of every label holds the number
failed_fraction <= 0.01               also: n, patients, unlabelled_fraction
arm[image].auroc >= 0.7               another arm than the full one
group[sex=female].auroc >= 0.75       one subgroup
worst[sex].auroc.ci_low >= 0.7        the worst subgroup of a column
delta.f1_macro.ci_low > -0.02         paired difference to the baseline run
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from medmm.errors import TaskError
from medmm.evaluation.policies import Strict
from medmm.results import Results, RunComparison, Value
from medmm.yaml_text import read_yaml

Field = Literal["value", "ci_low", "ci_high"]

_FIELDS: tuple[Field, ...] = ("value", "ci_low", "ci_high")
_SCOPE = re.compile(r"(delta|(?:arm|group|worst)\[.+\])")
_TEST = re.compile(r"\s*(>=|<=|>|<|covers)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")
_FORM = "a YAML file with rules: and a list of them"


class Rules(Strict):
    """Content of a rules file."""

    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, taken apart.

    Attributes:
        text: As written.
        scope: `arm[image]`, `group[sex=female]`, `worst[sex]`, `delta`, or empty for the full arm.
        metric: Name; `*` in it stands for any label.
        field: Which number of it.
        test: `>=`, `<=`, `>`, `<` or `covers`.
        number: To compare with.
    """

    text: str
    scope: str
    metric: str
    field: Field
    test: str
    number: float


@dataclass(frozen=True, slots=True)
class Check:
    """Outcome of one rule: whether it holds, and what was measured or why it cannot hold."""

    rule: str
    passed: bool
    measured: str


def read_rules(path: Path) -> tuple[str, ...]:
    """Rules of a YAML file: `rules:` and a list of lines.

    Raises:
        TaskError: If there are none to be read, or a key stands twice.
    """
    stated = read_yaml(path, _FORM)
    try:
        return Rules.model_validate(stated).rules
    except ValidationError:
        msg = f"Expected {_FORM}; it holds something else. Write one rule a line below rules:."
        raise TaskError(msg) from None


def parse_rule(text: str) -> Rule:
    """Take a rule apart.

    Raises:
        TaskError: If it does not follow the grammar.
    """
    steps, rest = _steps(text.strip())
    test = _TEST.fullmatch(rest)
    scope = steps.pop(0) if len(steps) > 1 and _SCOPE.fullmatch(steps[0]) else ""
    field = steps.pop() if len(steps) > 1 and steps[-1] in _FIELDS else "value"
    if test is None or len(steps) != 1 or not steps[0]:
        msg = f"Expected a rule such as `auroc_macro.ci_low >= 0.8` or `cal_slope[*] covers 1`; got {text!r}."
        raise TaskError(msg)
    return Rule(text, scope, steps[0], next(f for f in _FIELDS if f == field), test[1], float(test[2]))


def check_gate(rules: tuple[str, ...], results: Results, against: RunComparison | None = None) -> list[Check]:
    """Check every rule; a value that is undefined meets none.

    Args:
        rules: As written.
        results: To check.
        against: Comparison with the baseline, for rules about `delta`.

    Raises:
        TaskError: If there is no rule, or one cannot be understood or names what is not there.
    """
    if not rules:
        msg = "Expected rules to check; there are none. Give --rules, or state gate: in the task."
        raise TaskError(msg)
    parsed = [parse_rule(text) for text in rules]
    return [_check(rule, _values(rule, results, against)) for rule in parsed]


def _steps(text: str) -> tuple[list[str], str]:
    """Parts of a dotted name, and what follows it; nothing is split inside brackets."""
    steps, depth = [""], 0
    for position, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if depth == 0 and (character.isspace() or character in "<>"):
            return steps, text[position:]
        if depth == 0 and character == ".":
            steps.append("")
        else:
            steps[-1] += character
    return steps, ""


def _values(rule: Rule, results: Results, against: RunComparison | None) -> dict[str, Value]:
    """The values a rule is about, by name."""
    if not rule.scope and (count := _counted(rule.metric, results)) is not None:
        return {rule.metric: count}
    known = _scoped(rule, results, against)
    pattern = re.compile(re.escape(rule.metric).replace(r"\*", ".+"))
    bare = re.sub(r"\[\*\]|\*,", "", rule.metric)  # a binary task has no label in its names
    found = {name: v for name, v in known.items() if pattern.fullmatch(name) or name == bare}
    if not found:
        near = difflib.get_close_matches(rule.metric, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        msg = f"Expected a metric that was measured; {rule.metric!r} in {rule.text!r} was not.{hint}"
        raise TaskError(msg)
    return found


def _counted(name: str, results: Results) -> Value | None:
    counts = results.counts
    share = {"failed_fraction": counts.failed, "unlabelled_fraction": counts.unlabelled}
    if name in share:
        return Value(value=share[name] / counts.total if counts.total else 1.0, better="lower")
    number = {"n": counts.scored, "patients": counts.patients}
    return Value(value=number[name], better="higher") if name in number else None


def _scoped(rule: Rule, results: Results, against: RunComparison | None) -> Mapping[str, Value]:
    kind, _, argument = rule.scope.rstrip("]").partition("[")
    if kind == "delta":
        if against is None:
            msg = f"Expected a baseline for the rule {rule.text!r}; there is none. Give --baseline."
            raise TaskError(msg)
        return {
            c.metric: Value(value=c.difference, low=c.low, high=c.high, reason="not defined for both", better="higher")
            for c in against.comparisons
        }
    if kind == "worst":
        return _worst(argument, rule, results)
    column, _, value = argument.partition("=")
    choices: dict[str, Mapping[str, Value]]
    if kind == "group":
        choices = {f"{g.column}={g.value}": _of_group(g.metrics, g.suppressed, results) for g in results.groups}
        argument = f"{column}={value}"
    else:
        choices, argument = {a.name: a.metrics for a in results.arms}, argument or results.arms[0].name
    if argument not in choices:
        msg = f"Expected one of {', '.join(choices) or 'no groups'} in {rule.text!r}; got {argument!r}."
        raise TaskError(msg)
    return choices[argument]


def _of_group(metrics: Mapping[str, Value], suppressed: str | None, results: Results) -> Mapping[str, Value]:
    """Metrics of a group; those of a suppressed one are undefined, with the reason."""
    if suppressed is None:
        return metrics
    return {name: Value(value=None, reason=suppressed, better=v.better) for name, v in results.arms[0].metrics.items()}


def _worst(column: str, rule: Rule, results: Results) -> Mapping[str, Value]:
    """Metrics that have a direction, each of its worst group; undefined if no group is reported."""
    groups = [g for g in results.groups if g.column == column]
    if not groups:
        known = ", ".join(sorted({g.column for g in results.groups})) or "none"
        msg = f"Expected a column with subgroups in {rule.text!r}: {known}; got {column!r}."
        raise TaskError(msg)
    shown = [g for g in groups if g.suppressed is None]
    if not shown:
        return _of_group({}, "every group of the column is too small to report", results)
    directed = [name for name, v in shown[0].metrics.items() if v.better != "target"]
    return {name: min((g.metrics[name] for g in shown), key=_badness) for name in directed}


def _badness(value: Value) -> float:
    """Ascending from the worst; an undefined value is worse than any."""
    if value.value is None:
        return -math.inf
    return value.value if value.better == "higher" else -value.value


def _check(rule: Rule, values: Mapping[str, Value]) -> Check:
    outcomes = [_holds(rule, name, value) for name, value in values.items()]
    broken = [said for held, said in outcomes if not held]
    return Check(rule.text, not broken, "; ".join(broken or [said for _, said in outcomes]))


def _holds(rule: Rule, name: str, value: Value) -> tuple[bool, str]:
    """Whether one value meets the rule, and what it is."""
    interval = (value.low, value.high)
    if value.value is None:
        return False, f"{name} is undefined: {value.reason}"
    if rule.test == "covers" or rule.field != "value":
        if value.low is None or value.high is None:
            return False, f"{name} = {value.value:.6g} has no interval"
        said = f"{name} = {value.value:.6g} [{value.low:.6g}, {value.high:.6g}]"
    else:
        said = f"{name} = {value.value:.6g}"
    if rule.test == "covers":
        assert interval[0] is not None
        assert interval[1] is not None
        return interval[0] <= rule.number <= interval[1], said
    number = {"value": value.value, "ci_low": value.low, "ci_high": value.high}[rule.field]
    assert number is not None
    holds = {">=": number >= rule.number, "<=": number <= rule.number, ">": number > rule.number, "<": number < rule.number}
    return holds[rule.test], said
