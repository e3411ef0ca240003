"""What a batch does when studies fail, time runs out or somebody stops it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from medmm.errors import StoreError
from medmm.evaluation.predictions import from_store
from medmm.evaluation.run import run_evaluation
from medmm.settings import LIMITS
from medmm.store import FILE
from medmm.table import write_csv


@pytest.fixture(scope="module")
def spoiled(notes_cohort, tmp_path_factory):
    """Cohort of 20 notes, of which every fourth names a text file that is not there."""
    path = notes_cohort(tmp_path_factory.mktemp("spoiled"), 20, seed=1)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows[::4]:
        row["note"] = "lost.txt"
    write_csv(path, list(rows[0]), rows)
    return path


def about(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def rows_of(run):
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return {row["sample_id"]: row for row in csv.DictReader(file) if row["arm"] == "full"}


@pytest.mark.parametrize(("most", "done"), [(0, 1), (0.1, 9)])
def test_too_many_failures_stop_a_run_and_more_patience_goes_on(spoiled, notes_model, tmp_path, most, done) -> None:
    summary = run_evaluation(spoiled, notes_model, tmp_path, max_failures=most)
    assert (summary.status, summary.total, summary.done) == ("failed", 20, done)
    assert about(tmp_path)["status"] == "failed"
    again = run_evaluation(spoiled, notes_model, tmp_path, max_failures=most)
    assert (again.status, again.done, again.resumed) == ("failed", done, done)  # waiting changes nothing
    finished = run_evaluation(spoiled, notes_model, tmp_path, max_failures=5)
    assert (finished.status, finished.done, finished.failed, finished.resumed) == ("finished", 20, 5, done)
    assert [session["outcome"] for session in about(tmp_path)["sessions"]] == ["failed", "failed", "finished"]


def test_the_exit_code_tells_failed_studies_from_too_many(spoiled, notes_model, medmm, tmp_path) -> None:
    arguments = ["eval", "run", spoiled, "--model", notes_model, "--out", tmp_path]
    stopped = medmm(*arguments, "--max-failures", "0.1")
    assert (stopped.returncode, stopped.stderr.count("too many studies failed")) == (1, 1)
    finished = medmm(*arguments)
    assert finished.returncode == 3
    assert "20 studies predicted (9 from an earlier start), 5 failed." in finished.stderr


def test_a_failure_is_a_row_with_code_stage_and_attempts_and_the_cohorts_columns(spoiled, notes_model, tmp_path) -> None:
    run_evaluation(spoiled, notes_model, tmp_path)
    records = from_store(tmp_path).records
    assert {(r.code, r.stage, r.attempts) for r in records} == {("", "", 1), ("E_TEXT", "read", 1)}
    assert [r.columns["site"] for r in records] == ["xyz"[i % 3] for i in range(20)]
    counts = about(tmp_path)["counts"]
    assert counts == {"total": 20, "done": 20, "failed": 5, "failures": {"E_TEXT": 5}}


@pytest.fixture
def imaged(phantom, notes_model, tiny_model, tmp_path):
    """Cohort of the phantom's first six test studies, its images copied to where a test may spoil them."""
    with (phantom / "cohort.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"][:6]
    for row in rows:
        shutil.copytree(phantom / row["image"], tmp_path / row["image"])
    write_csv((tmp_path / "cohort.csv"), list(rows[0]), rows)
    return tmp_path / "cohort.csv", [tmp_path / row["image"] for row in rows]


def test_only_what_another_try_may_cure_is_tried_again(imaged, tiny_model, tmp_path) -> None:
    cohort, images = imaged
    lost, damaged = images[2], images[5]
    lost.rename(tmp_path / "elsewhere")
    some_slice = next(damaged.iterdir())
    sound = some_slice.read_bytes()
    some_slice.write_bytes(sound[: len(sound) // 2])
    out = tmp_path / "run"
    assert run_evaluation(cohort, tiny_model, out).failed == 2
    first = rows_of(out)
    reasons = {sample: row["code"] for sample, row in first.items() if row["code"]}
    assert reasons[lost.name] == "E_NO_IMAGE"
    assert reasons[damaged.name] != "E_NO_IMAGE"

    (tmp_path / "elsewhere").rename(lost)
    some_slice.write_bytes(sound)
    assert run_evaluation(cohort, tiny_model, out).failed == 2  # not unless it is asked for
    summary = run_evaluation(cohort, tiny_model, out, retry=True)
    assert (summary.failed, summary.resumed) == (1, 5)
    second = rows_of(out)
    assert (second[lost.name]["code"], second[lost.name]["attempts"]) == ("", "2")
    del first[lost.name], second[lost.name]
    assert second == first  # what was settled stays settled, the damaged one too


def test_a_damaged_study_leaves_all_others_alone(imaged, tiny_model, tmp_path) -> None:
    cohort, images = imaged
    run_evaluation(cohort, tiny_model, tmp_path / "sound")
    (images[3] / "bomb.dcm").write_bytes(next(images[3].iterdir()).read_bytes()[:900])
    for file in images[4].iterdir():
        file.write_bytes(b"\0" * 2000)
    summary = run_evaluation(cohort, tiny_model, tmp_path / "damaged")
    sound, damaged = rows_of(tmp_path / "sound"), rows_of(tmp_path / "damaged")
    assert summary.failed >= 1
    assert damaged[images[4].name]["code"].startswith("E_")
    for image in images[:3] + images[5:]:
        assert damaged[image.name] == sound[image.name]


@pytest.mark.parametrize("tight", [{"seconds": 0.001}, {"memory_bytes": 64 << 20}])
def test_limits_of_time_and_memory_are_rows_that_can_be_tried_again(imaged, tiny_model, tmp_path, tight) -> None:
    cohort, _ = imaged
    hurried = run_evaluation(cohort, tiny_model, tmp_path / "run", limit=2, limits=replace(LIMITS, **tight))
    assert (hurried.status, hurried.failed) == ("finished", 2)
    assert {r.code for r in from_store(tmp_path / "run").records} <= {"E_BUDGET", "E_WORKER"}
    assert run_evaluation(cohort, tiny_model, tmp_path / "run", limit=2, retry=True).failed == 0
    assert about(tmp_path / "run")["sessions"][-1]["timing"]["retried"] == 2
    assert {row["attempts"] for row in rows_of(tmp_path / "run").values()} == {"2"}


def test_a_run_that_is_stopped_goes_on_to_the_same_end(notes_cohort, notes_model, tmp_path) -> None:
    cohort, stop = notes_cohort(tmp_path, 30, seed=2), threading.Event()
    run_evaluation(cohort, notes_model, tmp_path / "undisturbed")

    def stop_after_ten(_what: str, done: int, _total: int) -> None:
        if done == 10:
            stop.set()

    stopped = run_evaluation(cohort, notes_model, tmp_path / "run", stop=stop, on_progress=stop_after_ten)
    assert (stopped.status, stopped.done) == ("cancelled", 10)
    assert (about(tmp_path / "run")["status"], about(tmp_path / "run")["counts"]["done"]) == ("cancelled", 10)
    assert not (tmp_path / "run" / "predictions.csv").exists()
    assert run_evaluation(cohort, notes_model, tmp_path / "run").resumed == 10
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (tmp_path / "undisturbed" / "predictions.csv").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_stop_cleanly(phantom, tiny_model, tmp_path, number) -> None:
    command = [sys.executable, "-m", "medmm", "eval", "run", phantom / "cohort.csv", "--model", tiny_model, "--split", "train",
               "--out", tmp_path]  # fmt: skip
    started = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (tmp_path / FILE).exists() or "done" not in progress_of(tmp_path):
        assert started.poll() is None, "it ended before it could be stopped"
        time.sleep(0.01)
    os.killpg(started.pid, number)  # as a terminal does: the readers get it too
    _, said = started.communicate(timeout=60)
    assert started.returncode == 128 + number
    assert "the same command goes on from here" in said
    assert about(tmp_path)["status"] == "cancelled"
    with closing(sqlite3.connect(tmp_path / FILE)) as store:
        assert store.execute("SELECT count(*) FROM prediction WHERE code <> ''").fetchone() == (0,)


def progress_of(run):
    """`done` as soon as a study stands in the store."""
    try:
        with closing(sqlite3.connect(f"file:{run / FILE}?mode=ro", uri=True)) as store:
            return "done" if store.execute("SELECT count(*) FROM prediction").fetchone()[0] else ""
    except sqlite3.OperationalError:
        return ""


def test_a_run_made_with_other_libraries_is_refused_by_name(notes_cohort, notes_model, tmp_path) -> None:
    cohort = notes_cohort(tmp_path, 4, seed=3)
    run_evaluation(cohort, notes_model, tmp_path / "run")
    with closing(sqlite3.connect(tmp_path / "run" / FILE)) as store, store:
        store.execute("UPDATE run SET value = '0' WHERE field IN ('torch', 'preprocessing')")
    with pytest.raises(StoreError, match="another preprocessing, torch"):
        run_evaluation(cohort, notes_model, tmp_path / "run")


def test_run_json_tells_what_a_run_was_and_every_start(notes_cohort, notes_model, tmp_path) -> None:
    cohort = notes_cohort(tmp_path, 4, seed=4)
    for _ in range(2):
        run_evaluation(cohort, notes_model, tmp_path / "run")
    told = about(tmp_path / "run")
    assert (told["status"], told["counts"]) == ("finished", {"total": 4, "done": 4, "failed": 0, "failures": {}})
    assert {"medmm", "python", "torch", "numpy"} <= set(told["versions"])
    first, second = told["sessions"]
    assert first["started"] <= first["ended"] <= second["started"]
    assert (first["timing"]["studies"], second["timing"]["studies"]) == (4, 0)
    assert first["hardware"]["cpus"] >= 1
    assert first["git"] is None or len(first["git"]["commit"]) == 40
    assert str(tmp_path) not in json.dumps(told)
