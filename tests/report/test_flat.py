"""The flat table: every number once, exact, and never a formula."""

from __future__ import annotations

import csv

from medmm.report.flat import COLUMNS, write_metrics_csv


def cell(value: float | None) -> str:
    return "" if value is None else repr(value)


def rows_of(results, folder) -> list[dict[str, str]]:
    write_metrics_csv(results, folder / "metrics.csv")
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_number_stands_there_exactly(rich_of, tmp_path) -> None:
    results = rich_of()
    rows = {(r["part"], r["name"], r["metric"]): r for r in rows_of(results, tmp_path)}
    assert tuple(next(iter(rows.values()))) == COLUMNS
    for arm in results.arms:
        for name, value in arm.metrics.items():
            found = rows["arm", arm.name, name]
            assert tuple(found[c] for c in ("value", "low", "high")) == tuple(map(cell, (value.value, value.low, value.high)))
            assert found["reason"] == (value.reason or "")
    for c in results.comparisons:
        assert float(rows["difference", f"{c.first} minus {c.second}", c.metric]["value"]) == c.difference
    assert rows["group", "sex=not stated", ""]["reason"] == "fewer than 50 samples"
    assert rows["group", "sex=F", "brier"]["value"] == "0.2"


def test_no_cell_is_a_formula(results_of, tmp_path) -> None:
    labels = ("=1+1", "@SUM(A1)", "+1+cmd|' /C calc'!A0", "known", "last")
    for row in rows_of(results_of("multilabel", 30, labels=labels), tmp_path):
        assert not any(cell.startswith(("=", "@", "+1+")) for cell in row.values())
