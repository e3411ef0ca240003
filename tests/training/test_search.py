"""Searches: blind to the test split, the same after a kill, and shared by several processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from medmm.errors import CohortError, StoreError
from medmm.training import TrainConfig, train
from medmm.training.config import read_config
from medmm.training.search import Search, best_of, search
from medmm.training.search_space import Choices, Range

LABELS = ("no_large", "large")
SPACE = {"learning_rate": Range(1e-4, 1e-2, log=True), "width": Choices(("8", "16"))}
BASE = TrainConfig(epochs=2, width=16, split_seed=0)
PLAN = Search(SPACE, BASE, trials=3, sampler="random")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def found(note_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("search") / "study"
    search(note_cohort, out, PLAN, labels=LABELS)
    return out


def test_the_table_holds_every_trial_and_the_best_can_be_trained(found: Path, note_cohort: Path, tmp_path: Path) -> None:
    rows = rows_of(found / "trials.csv")
    assert [(r["number"], r["state"], r["epochs"]) for r in rows] == [(str(i), "complete", "2") for i in range(3)]
    best = max(rows, key=lambda r: float(r["f1_macro"]))
    config = TrainConfig(**read_config(found / "best.yaml"))
    assert str(config.width) == best["width"]
    assert config.learning_rate == pytest.approx(float(best["learning_rate"]))
    epochs: list[dict[str, float]] = []
    train(note_cohort, tmp_path / "again", config, labels=LABELS, on_epoch=lambda _, values: epochs.append(values))
    assert max(e["val/f1_macro"] for e in epochs) == pytest.approx(float(best["f1_macro"]))


def test_a_trial_is_scored_by_the_epoch_that_training_keeps(note_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    """By its loss, which is lowest in another epoch than macro-F1 is highest where labels are often wrong."""
    rows = note_rows(80)
    for row in rows[::5]:
        row["label"] = "large" if row["label"] == "no_large" else "no_large"
    cohort = write_cohort(tmp_path, rows)
    base = TrainConfig(epochs=6, width=16, split_seed=0, judge="loss", learning_rate=1e-3, seed=1)
    plan = Search({"width": Choices(("16",))}, base, trials=1, sampler="grid")
    (tried,) = search(cohort, tmp_path / "study", plan, labels=LABELS)
    epochs: list[dict[str, float]] = []
    train(cohort, tmp_path / "run", base, labels=LABELS, on_epoch=lambda _, values: epochs.append(values))
    kept = min(epochs, key=lambda e: e["val/loss"])
    assert kept["val/f1_macro"] < max(e["val/f1_macro"] for e in epochs)
    assert tried.score == pytest.approx(kept["val/f1_macro"])


def test_no_trial_sees_the_test_split(found: Path, note_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    rows = note_rows(80)
    for row in rows:
        if row["split"] == "test":
            row.update(note="lost.txt", label="large")
    search(write_cohort(tmp_path, rows), tmp_path / "study", PLAN, labels=LABELS)
    assert (tmp_path / "study" / "trials.csv").read_bytes() == (found / "trials.csv").read_bytes()
    assert (tmp_path / "study" / "best.yaml").read_bytes() == (found / "best.yaml").read_bytes()


def test_a_search_interrupted_within_a_trial_ends_the_same(found: Path, note_cohort: Path, tmp_path: Path) -> None:
    begun: list[int] = []

    def interrupt(what: str, done: int, _: int) -> None:
        begun.extend([done] if what == "trials" else [])
        if begun == [1] and (what, done) == ("training", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(note_cohort, tmp_path / "study", PLAN, labels=LABELS, on_progress=interrupt)
    tried = search(note_cohort, tmp_path / "study", PLAN, labels=LABELS)
    assert [(t.state, t.epochs) for t in tried] == [("complete", 2)] * 3
    again, undisturbed = rows_of(tmp_path / "study" / "trials.csv"), rows_of(found / "trials.csv")
    assert again[:2] == undisturbed[:2]


def test_a_finished_search_is_left_as_it_is_and_another_is_refused(found: Path, note_cohort: Path) -> None:
    before = (found / "trials.csv").read_bytes()
    search(note_cohort, found, PLAN, labels=LABELS)
    assert (found / "trials.csv").read_bytes() == before
    with pytest.raises(StoreError, match="another seed"):
        search(note_cohort, found, replace(PLAN, seed=1), labels=LABELS)


def test_a_grid_tries_every_combination_once_also_when_it_goes_on(note_cohort: Path, tmp_path: Path) -> None:
    space = {"width": Choices(("8", "16")), "smoothing": Choices(("0", "0.1"))}
    plan = Search(space, replace(BASE, epochs=1), trials=50, sampler="grid")
    search(note_cohort, tmp_path / "study", replace(plan, trials=2), labels=LABELS)
    tried = search(note_cohort, tmp_path / "study", plan, labels=LABELS)
    assert sorted(tuple(t.chosen.values()) for t in tried) == [("16", "0"), ("16", "0.1"), ("8", "0"), ("8", "0.1")]


def test_hopeless_trials_are_given_up_and_the_best_is_not_one_of_them(note_cohort: Path, tmp_path: Path) -> None:
    space = {"learning_rate": Choices(("5e-3", "1e-9"))}
    plan = Search(space, replace(BASE, epochs=6), trials=8, sampler="random", metric="loss", seed=3)
    tried = search(note_cohort, tmp_path / "study", plan, labels=LABELS)
    given_up = [t for t in tried if t.state == "pruned"]
    assert given_up
    assert {t.chosen["learning_rate"] for t in given_up} == {"1e-9"}
    assert all(t.epochs < 6 for t in given_up)
    assert best_of(tried, "loss").chosen["learning_rate"] == "5e-3"


def test_without_validation_cases_there_is_nothing_to_compare_on(note_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path, note_rows(40, split=lambda _: ""))
    plan = replace(PLAN, config=replace(BASE, fractions=(0.8, 0.0, 0.2)))
    with pytest.raises(CohortError, match="validation cases"):
        search(cohort, tmp_path / "study", plan, labels=LABELS)


def test_two_processes_share_a_study_and_take_over_what_a_killed_one_began(note_cohort: Path, tmp_path: Path) -> None:
    space, out = tmp_path / "space.yaml", tmp_path / "study"
    space.write_text(yaml.safe_dump({"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}))
    command = [sys.executable, "-m", "medmm", "tune", str(note_cohort), "--space", str(space), "--out", str(out), "--trials", "3",
               "--epochs", "2", "--set", "width=8", "--json"]  # fmt: skip
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not list(out.glob("trials/*/scores.json")):
        assert killed.poll() is None, killed.communicate()[1].decode()
        time.sleep(0.002)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for process in running:
        said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    rows = rows_of(out / "trials.csv")
    assert [(r["number"], r["state"]) for r in rows if r["number"] == "0"] == [("0", "complete")]
    assert 3 == len(rows) == len({r["learning_rate"] for r in rows})
    assert {t["number"] for t in json.loads(said)["trials"]} == {int(r["number"]) for r in rows}
