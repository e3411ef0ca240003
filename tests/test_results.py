"""The schema of metrics.json, and the committed results: each follows from the predictions beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medmm.evaluation.files import read_results
from medmm.evaluation.predictions import Predictions, from_file
from medmm.evaluation.score import score
from medmm.evaluation.task import Task, read_task
from medmm.results import PREVALENCE_ARM, Results
from medmm.store import Record

ROOT = Path(__file__).parents[1]
COMMITTED = sorted((ROOT / "eval" / "results").glob("*/*/*.json"))
SHIPPED = sorted((ROOT / "medmm" / "assets" / "models").glob("*/results.json"))
TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)
}  # fmt: skip


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "") -> list[str]:
    """Where a document breaks a JSON schema; raises KeyError on a keyword this does not know."""
    kind = schema.get("type", "boolean" if isinstance(value, bool) else None)
    if kind and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [f"{where}: not {kind}"]

    def each(pairs: Any) -> list[str]:
        return [fault for key, part, inner in pairs for fault in faults(part, inner, root, f"{where}/{key}")]

    def others(rule: Any) -> list[str]:
        names = value.keys() - schema.get("properties", {}).keys()
        return each((n, value[n], rule) for n in names) if rule else [f"{where}/{n}: unknown" for n in names]

    checks: dict[str, Callable[[Any], list[str]]] = {
        "$ref": lambda rule: faults(value, root["$defs"][rule.removeprefix("#/$defs/")], root, where),
        "anyOf": lambda rule: [] if any(not faults(value, r, root) for r in rule) else [f"{where}: none of the options"],
        "const": lambda rule: [] if value == rule else [f"{where}: not {rule}"],
        "enum": lambda rule: [] if value in rule else [f"{where}: not among {rule}"],
        "required": lambda rule: [f"{where}/{name}: absent" for name in rule if name not in value],
        "properties": lambda rule: each((n, value[n], part) for n, part in rule.items() if n in value),
        "additionalProperties": others,
        "items": lambda rule: each((i, part, rule) for i, part in enumerate(value)),
        "prefixItems": lambda rule: each((i, *pair) for i, pair in enumerate(zip(value, rule, strict=True))),
    }
    says_nothing = {"$defs", "type", "title", "description", "default", "minItems", "maxItems"}
    return [fault for keyword, rule in schema.items() if keyword not in says_nothing for fault in checks[keyword](rule)]


@pytest.fixture(scope="session")
def schema() -> dict[str, Any]:
    return json.loads((ROOT / "docs" / "metrics.schema.json").read_text(encoding="utf-8"))


def generated(kind: str, n: int = 40) -> Results:
    """Results of generated predictions with a failure, an unknown and an undefined value."""
    rng = np.random.default_rng(0)
    k = 2 if kind == "binary" else 3
    rows = []
    for i in range(n):
        p = rng.random(k) if kind == "multilabel" else rng.dirichlet([1] * k)
        target: Any = (1.0, float(i % 2), None) if kind == "multilabel" else tuple(np.eye(k)[i % 2])
        rows.append(Record(f"s{i}", f"p{i // 2}", i, "full", target=target, probability=tuple(map(float, p))))
    rows.append(Record("failed", "p0", n, "full", code="E_NO_IMAGE"))
    task = Task(name="t", intervals={"replicates": 100})
    return score(Predictions(kind, tuple("abc"[:k]), tuple(rows), {"type": "test"}), task)


def test_the_committed_schema_is_the_one_the_command_prints() -> None:
    printed = subprocess.run([sys.executable, "-m", "medmm", "eval", "schema"], capture_output=True, text=True, check=True).stdout
    assert printed == (ROOT / "docs" / "metrics.schema.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_results_follow_the_schema(schema, kind) -> None:
    assert faults(json.loads(generated(kind).to_json()), schema, schema) == []


def test_what_does_not_follow_the_schema_is_found(schema) -> None:
    good = json.loads(generated("binary").to_json())
    for broken, fault in (
        (good | {"extra": 1}, "/extra: unknown"),
        (good | {"task_version": "one"}, "/task_version: not integer"),
        (good | {"kind": "ternary"}, "/kind: not among"),
        ({k: v for k, v in good.items() if k != "task"}, "/task: absent"),
    ):
        assert any(fault in f for f in faults(broken, schema, schema))
        with pytest.raises(ValueError, match="validation error"):
            Results.model_validate_json(json.dumps(broken))


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_every_metric_is_defined_in_the_documents(kind) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name in generated(kind).arms[0].metrics:
        stem, _, parameters = name.removesuffix("]").partition("[")
        estimator = ",".join(parameters.split(",")[-2:])  # the last two of label, binning and bins
        stem = stem.removesuffix("_macro") if f"`{stem}`" not in text else stem
        said = [f"`ece[{estimator}]`"] if stem == "ece" else [f"`{stem}`", f"`{stem}["]
        assert any(word in text for word in said), name


def test_results_survive_being_written_and_read(tmp_path) -> None:
    results = generated("multilabel")
    (tmp_path / "metrics.json").write_text(results.to_json(), encoding="utf-8")
    assert read_results(tmp_path / "metrics.json") == results
    assert read_results(tmp_path / "metrics.json").to_json() == results.to_json()


def test_an_arm_is_found_by_its_name() -> None:
    results = generated("binary")
    assert results.arm("full") is results.arms[0]
    assert results.arm("audio") is None


def test_results_are_committed() -> None:
    assert COMMITTED
    assert SHIPPED


def comparable(results: Results) -> dict[str, Any]:
    """What scoring the predictions file again must give: of a run's results all but what only the run knew."""
    content = results.model_dump(exclude={"medmm", "environment"})
    if results.source["type"] == "run":
        for part in ("source", "model", "notes"):
            del content[part]
        content["arms"] = [a | {"decision": a["decision"]["confusion"]} for a in content["arms"] if a["name"] != PREVALENCE_ARM]
        content["comparisons"] = [c for c in content["comparisons"] if c["second"] != PREVALENCE_ARM]
    return content


def assert_same(one: Any, other: Any, where: str) -> None:
    """Equal in form and words, and to 1e-9 in every number."""
    if isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-9, abs=1e-9), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key, value in one.items():
            assert_same(value, other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, value in enumerate(one):
            assert_same(value, other[i], f"{where}/{i}")
    else:
        assert one == other, where


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: "-".join(p.parts[-3:]))
def test_committed_results_follow_from_their_predictions_and_lie_where_they_belong(path, schema) -> None:
    committed, task = read_results(path), read_task(ROOT / "eval" / "tasks" / f"{path.stem}.yaml")
    assert committed.task == task.name == path.stem
    assert committed.model.get("name", path.parts[-3]) == path.parts[-3]
    assert faults(json.loads(path.read_bytes()), schema, schema) == []
    again = score(from_file(path.with_suffix(".predictions.csv"), task.labels, task.kind), task)
    if committed.source["type"] == "run":
        again = again.model_copy(update={"source": committed.source})
    assert_same(comparable(committed), comparable(again), path.stem)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.parts[-2])
def test_a_shipped_model_carries_its_committed_results(path) -> None:
    task = read_results(path).task
    assert path.read_bytes() in [p.read_bytes() for p in COMMITTED if (p.parts[-3], p.stem) == (path.parts[-2], task)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.parts[-2])
def test_a_shipped_card_quotes_the_results(path) -> None:
    results, card = read_results(path), (path.parent / "card.md").read_text(encoding="utf-8")
    found = results.arms[0].metrics["auroc"]
    assert f"| full | {results.arms[0].n} | {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] |" in card
