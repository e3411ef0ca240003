"""`medmm distill` at the command line: killed without a warning, it goes on, and its student answers."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path


def medmm(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "medmm", *map(str, arguments)]


def write_notes(path: Path) -> Path:
    rows = []
    for i in range(80):
        size = 5.5 + i % 7 / 2 if i % 2 else 1 + i % 5 / 2
        split = "train" if i < 48 else "val" if i < 68 else "test"
        rows.append([f"S{i}", f"P{i}", f"Lesion of {size:.1f} cm.", "large" if i % 2 else "no_large", split])
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["study_id", "patient_id", "note", "label", "split"], *rows])
    return path


def test_a_killed_distillation_goes_on_and_its_student_is_a_model(tmp_path: Path) -> None:
    cohort, teacher, student = write_notes(tmp_path / "cohort.csv"), tmp_path / "teacher", tmp_path / "student"
    subprocess.run(medmm("train", cohort, "--out", teacher, "--epochs", 3, "--set", "width=16"), check=True, capture_output=True)
    choices = ["--epochs", 12, "--temperature", 3, "--set", "width=8"]
    command = medmm("distill", cohort, "--teacher", teacher, "--out", student, *choices)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not (student / "checkpoint.safetensors").exists():
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not (student / "sha256.json").exists()
    subprocess.run(command, check=True, capture_output=True)
    ask = medmm("predict", "--note", "Lesion of 8.0 cm.", "--model", student, "--json")
    answer = subprocess.run(ask, check=True, capture_output=True, text=True)
    assert "probabilities" in answer.stdout
    assert json.loads((student / "train.json").read_text())["config"]["distill_temperature"] == 3
    assert "Distilled from `teacher`" in (student / "card.md").read_text()
