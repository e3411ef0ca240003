"""`medmm cohort check` and `medmm train --task` as scripts see them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from medmm.cli import app

TASK = """
name: lesion
labels: ["no", large]
labels_from: reports
values:
  - {name: age, unit: years}
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Sixty reports whose findings state the label, and whose column `stay` was filled in afterwards."""
    path = tmp_path / "cohort.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["study_id", "patient_id", "note", "label", "age", "stay"])
        for i in range(60):
            note = f"INDICATION: Cough for {i % 5} days.\nFINDINGS: {'Large' if i % 2 else 'Small'} mass."
            writer.writerow([f"S{i}", f"P{i}", note, "large" if i % 2 else "no", 40 + i % 7, 9 + i % 3 if i % 2 else i % 3])
    return path


def test_the_check_fails_and_names_every_lone_giveaway(cohort: Path) -> None:
    result = call("cohort", "check", cohort, "--json")
    assert result.exit_code == 1
    assert {g["name"] for g in json.loads(result.stdout)["giveaways"]} == {"large", "small", "stay"}
    lines = call("cohort", "check", cohort).stdout.splitlines()
    assert all(line.startswith("LEAKAGE? ") for line in lines)
    assert len(lines) == 4


def test_of_a_task_with_labels_from_reports_only_the_indication_is_looked_at(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(TASK)
    found = json.loads(call("cohort", "check", cohort, "--task", tmp_path / "task.yaml", "--json").stdout)
    assert {g["name"] for g in found["giveaways"]} == {"stay"}


def test_a_cohort_without_labels_cannot_be_checked(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("study_id,patient_id,note\n1,1,a\n")
    result = call("cohort", "check", tmp_path / "c.csv", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == "E_COHORT"


def test_a_task_states_labels_values_and_sections_of_a_training(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(TASK)
    small = ["--set", "width=16", "--epochs", "1"]
    result = call("train", cohort, "--out", tmp_path / "run", "--task", tmp_path / "task.yaml", *small)
    assert result.exit_code == 0, result.stderr
    assert "Leakage scan: 0 of" in result.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    model = config.get("model", config)
    assert model["labels"] == ["no", "large"]
    assert model["text"]["recipe"]["sections"] == ["indication"]
    assert [(c["name"], c["unit"]) for c in model["tabular"]["recipe"]["numbers"]] == [("age", "years")]
