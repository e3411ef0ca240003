"""`medmm eval run`: every study once, whatever happens on the way."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medmm.errors import LeakageError, PredictionsError, StoreError, TaskError
from medmm.evaluation.files import score_to_folder
from medmm.evaluation.predictions import from_file, from_store
from medmm.evaluation.run import run_evaluation
from medmm.store import FILE
from medmm.table import write_csv

BEFORE_THE_KILL = 4


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows_in(folder) -> int:
    """Samples that stand in the store of a run, 0 while there is none."""
    try:
        with sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True) as store:
            return store.execute("SELECT COUNT(DISTINCT sample_id) FROM prediction").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


@pytest.fixture(scope="module")
def finished(phantom, tiny_model, tmp_path_factory):
    """Run folder of the training side of the phantom, undisturbed."""
    out = tmp_path_factory.mktemp("finished")
    run_evaluation(phantom / "cohort.csv", tiny_model, out, split="train")
    return out


def test_killed_and_run_again_it_ends_as_if_undisturbed(phantom, tiny_model, finished, medmm, tmp_path) -> None:
    arguments = ["eval", "run", phantom / "cohort.csv", "--model", tiny_model, "--split", "train", "--out", tmp_path]
    started = subprocess.Popen([sys.executable, "-m", "medmm", *map(str, arguments)], stderr=subprocess.DEVNULL)
    while rows_in(tmp_path) < BEFORE_THE_KILL:
        assert started.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    started.kill()
    assert started.wait() == -signal.SIGKILL
    left = rows_in(tmp_path)
    assert BEFORE_THE_KILL <= left < 36
    with pytest.raises(PredictionsError, match="Expected a finished run"):
        score_to_folder(tmp_path, None, None, None)

    done = medmm(*arguments)
    assert done.returncode == 0
    assert f"36 studies predicted ({left} from an earlier start), 0 failed." in done.stderr
    assert (tmp_path / "predictions.csv").read_bytes() == (finished / "predictions.csv").read_bytes()
    task = tmp_path / "task.yaml"
    task.write_text("name: t\nsplit: train\nintervals: {replicates: 100}\n")
    for folder in (tmp_path, finished):
        score_to_folder(folder, None, task, None)
    assert (tmp_path / "metrics.json").read_bytes() == (finished / "metrics.json").read_bytes()


def test_a_finished_run_is_not_run_again(phantom, tiny_model, finished) -> None:
    before = (finished / "predictions.csv").read_bytes()
    summary = run_evaluation(phantom / "cohort.csv", tiny_model, finished, split="train")
    assert (summary.total, summary.failed, summary.resumed) == (36, 0, 36)
    assert (finished / "predictions.csv").read_bytes() == before


def test_a_folder_of_another_run_is_refused(phantom, tiny_model, finished) -> None:
    with pytest.raises(StoreError, match="another split"):
        run_evaluation(phantom / "cohort.csv", tiny_model, finished, split="test")


def test_every_study_has_a_row_for_all_inputs_and_for_each_alone(phantom, finished) -> None:
    cases = {r["study_id"]: r for r in read(phantom / "cohort.csv") if r["split"] == "train"}
    found = from_store(finished)
    assert {(r.sample_id, r.arm, r.pattern) for r in found.records} == {
        (s, arm, pattern) for s in cases for arm, pattern in (("full", "image+text"), ("image", "image"), ("text", "text"))
    }
    for record in found.records:
        assert sum(record.probability) == pytest.approx(1)
        assert found.labels[record.target.index(1)] == cases[record.sample_id]["label"]


def test_the_run_and_its_predictions_file_score_the_same(finished, tmp_path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text("name: t\nsplit: train\nlabels: [negative, positive]\nintervals: {replicates: 100}\n")
    run = score_to_folder(finished, None, task, tmp_path / "run")
    file = score_to_folder(None, finished / "predictions.csv", task, tmp_path / "file")
    assert from_file(finished / "predictions.csv").records[0].probability == from_store(finished).records[0].probability
    for ours, theirs in zip(run.arms, file.arms, strict=True):
        if ours.name != "prevalence":  # a file does not say how common labels were in training
            assert (ours.metrics, ours.calibration) == (theirs.metrics, theirs.calibration)


def test_the_run_says_what_it_was(tiny_model, finished) -> None:
    about = json.loads((finished / "run.json").read_text())
    assert (about["status"], about["model"]["name"], about["kind"]) == ("finished", "tiny", "binary")
    assert str(tiny_model) not in json.dumps(about)


@pytest.fixture
def cohort(phantom, tmp_path):
    """(changes of rows) to a cohort table beside the phantom's images."""

    def build(change):
        rows = read(phantom / "cohort.csv")
        for row in rows:
            row["image"] = str(phantom / row["image"])
        rows = [row for row in rows if change(row) is not False]
        path = tmp_path / "cohort.csv"
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        return path

    return build


def test_an_image_that_the_model_does_not_read_is_not_opened_and_cannot_fail_its_note(notes_cohort, notes_model, tmp_path) -> None:
    plain = notes_cohort(tmp_path / "plain", n=6, seed=1)
    rows = read(plain)
    (tmp_path / "imaged").mkdir()
    (tmp_path / "imaged" / "broken.nii.gz").write_bytes(b"no image")
    imaged = tmp_path / "imaged" / "cohort.csv"
    write_csv(imaged, list(rows[0]), [row | {"image": "broken.nii.gz"} for row in rows])
    for cohort in (plain, imaged):
        assert run_evaluation(cohort, notes_model, cohort.parent / "run").failed == 0
    found = [from_store(cohort.parent / "run").records for cohort in (plain, imaged)]
    assert [r.probability for r in found[0]] == [r.probability for r in found[1]]


def test_images_kept_by_an_earlier_run_are_not_read_again_and_answer_alike(cohort, tiny_model, tmp_path) -> None:
    path, cache = cohort(lambda row: row["split"] == "test"), tmp_path / "cache"
    (tmp_path / "images").symlink_to(Path(read(path)[0]["image"]).parent)
    moved = [row | {"image": f"images/{Path(row['image']).name}"} for row in read(path)]
    write_csv(path, list(moved[0]), moved)
    once = [run_evaluation(path, tiny_model, tmp_path / name, cache=kept) for name, kept in (("plain", None), ("kept", cache))]
    (tmp_path / "images").unlink()
    again = run_evaluation(path, tiny_model, tmp_path / "again", cache=cache)
    assert [summary.failed for summary in (*once, again)] == [0, 0, 0]
    plain, kept, later = (from_store(tmp_path / name).records for name in ("plain", "kept", "again"))
    assert [(r.arm, r.probability, r.image_sha256) for r in later] == [(r.arm, r.probability, r.image_sha256) for r in plain]
    assert [(r.arm, r.probability, r.image_sha256) for r in kept] == [(r.arm, r.probability, r.image_sha256) for r in plain]


def test_a_study_that_cannot_be_read_is_a_row_with_its_reason(cohort, tiny_model, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    broken = []

    def spoil(row):
        if row["split"] == "test" and not broken:
            broken.append(row["study_id"])
            row["image"] = str(tmp_path / "empty")
        return row["split"] == "test"

    summary = run_evaluation(cohort(spoil), tiny_model, tmp_path / "run")
    assert (summary.total, summary.failed) == (15, 1)
    failed = [r for r in from_store(tmp_path / "run").records if r.failed]
    assert [(r.sample_id, r.arm, r.code, r.probability) for r in failed] == [(broken[0], "full", "E_NO_IMAGE", ())]
    assert str(tmp_path) not in failed[0].message
    results = score_to_folder(tmp_path / "run", None, None, None)
    assert (results.counts.total, results.counts.scored, results.counts.failures) == (15, 14, {"E_NO_IMAGE": 1})


def test_patients_the_model_was_fitted_on_are_refused(cohort, tiny_model, tmp_path) -> None:
    with pytest.raises(LeakageError, match="45 of them were"):
        run_evaluation(cohort(lambda row: row.update(split="test")), tiny_model, tmp_path / "run")


@pytest.mark.parametrize("split", ["nowhere", "TEST"])
def test_a_split_without_studies_is_refused(phantom, tiny_model, tmp_path, split) -> None:
    with pytest.raises(TaskError, match="there are none"):
        run_evaluation(phantom / "cohort.csv", tiny_model, tmp_path, split=split)


def test_a_task_about_other_labels_is_refused(phantom, tiny_model, tmp_path) -> None:
    shutil.copy(phantom / "cohort.csv", tmp_path / "cohort.csv")
    (tmp_path / "task.yaml").write_text("name: t\nlabels: [positive, negative]\ncohort: cohort.csv\n")
    with pytest.raises(TaskError, match="labels the model predicts"):
        run_evaluation(tmp_path / "task.yaml", tiny_model, tmp_path / "run")


def test_a_limit_takes_the_first_studies(phantom, tiny_model, tmp_path) -> None:
    assert run_evaluation(phantom / "cohort.csv", tiny_model, tmp_path, limit=2).total == 2
