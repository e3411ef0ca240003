"""The committed measure of pretraining: means and intervals follow from its seeds, and the documents quote them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from medmm.sources.phantom.truth import Table

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "eval" / "results" / "pretraining").glob("*.json"))
METRICS = ("f1_macro", "auroc", "brier", "log_loss")
LABELS = {
    "pretrained": "pretrained, a tenth of the labels",
    "scratch": "from scratch, a tenth of the labels",
    "all_labels": "from scratch, all labels",
    "frequencies": "class frequencies",
}


@pytest.fixture(params=COMMITTED, ids=lambda path: path.stem)
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(request.param.read_text(encoding="utf-8"))
    return content


def cell(values: list[float]) -> str:
    """Mean and 95 % t interval, by scipy."""
    mean, half = sum(values) / len(values), stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{mean:.3f} ({mean - half:.3f} to {mean + half:.3f})"


def lines_of(found: dict[str, Any]) -> list[str]:
    """The table, computed anew from the seeds."""
    seeds = found["seeds"]
    rows = {label: {m: [seed[name][m] for seed in seeds] for m in METRICS} for name, label in LABELS.items()}
    pairs = zip(*(rows[LABELS[name]].items() for name in ("pretrained", "scratch")), strict=True)
    rows["pretrained minus from scratch"] = {m: [a - b for a, b in zip(p, s, strict=True)] for (m, p), (_, s) in pairs}
    return [f"| {label} | {' | '.join(cell(row[m]) for m in METRICS)} |" for label, row in rows.items()]


def test_the_table_and_the_document_follow_from_the_seeds(found: dict[str, Any]) -> None:
    name = f"{found['kind']}-{'+'.join(found['modalities'])}"
    table = (ROOT / "eval" / "results" / "pretraining" / f"{name}.md").read_text(encoding="utf-8")
    assert len(found["seeds"]) == 5
    for line in lines_of(found):
        assert line in table
        assert line in document("eval/README.md")
    assert found["command"] in table
    assert found["command"].replace("OUT", "runs/pretraining") in document("eval/README.md")


def test_the_limits_are_those_of_the_law(found: dict[str, Any]) -> None:
    limits = Table().limits(frozenset(found["modalities"]))
    assert f"| best possible | {' | '.join(f'{limits[m]:.3f}' for m in METRICS)} |" in document("eval/README.md")


def test_where_the_document_tells_how_to_start_from_it_it_says_what_that_is_worth() -> None:
    (path,) = (path for path in COMMITTED if path.stem == "chest-text")
    seeds = json.loads(path.read_text(encoding="utf-8"))["seeds"]
    gained = {m: [seed["pretrained"][m] - seed["scratch"][m] for seed in seeds] for m in METRICS}
    (told,) = [
        part for part in document("docs/pretraining.md").split("\n## ") if part.startswith("The folder, and starting from it")
    ]
    for metric in ("auroc", "f1_macro", "log_loss"):
        assert cell(gained[metric]) in told


def document(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
