"""Predictions in every format, in and out of a run folder, to the last digit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medmm.errors import InputError, PredictionsError, StoreError
from medmm.evaluation.exchange import export_run, import_predictions
from medmm.evaluation.files import score_to_folder
from medmm.evaluation.predictions import from_file, from_store
from medmm.sources.phantom.predictions import SimulatedModel
from medmm.table import write_rows

FORMATS = ["csv", "parquet", "jsonl"]


def multilabel(n: int = 40):
    """Rows with awkward numbers, unknown labels, failures, and columns of the cohort."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        p = {f"p__{name}": float(rng.random()) for name in ("a", "b")}
        row = {"sample_id": f"s{i}", "patient_id": f"p{i // 2}", "split": "test", "image_sha256": f"{i:064x}", **p}
        row |= {"site": ("x", "=y", "'=z")[i % 3], "age": str(40 + i)}
        row |= {"code": "", "message": "", "stage": "", "attempts": "1"}
        row |= {f"logit__{k[3:]}": float(np.log(v / (1 - v))) for k, v in p.items()}
        row |= {"label__a": str(i % 2), "label__b": "" if i % 5 == 0 else str(i % 3 // 2)}
        rows.append(row)
    rows[3] |= {"code": "E_CORRUPT", "message": "Damaged, cut off.", "stage": "read", "attempts": "2"}
    rows[3] |= {k: "" for k in rows[3] if k.startswith(("p__", "logit__"))}
    rows[4] |= {"p__a": 0.0, "p__b": 1.0, "logit__a": -1e-300, "logit__b": 0.1 + 0.2}
    return rows


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_run_of_anybodys_predictions_gives_back_what_came_in(write, tmp_path, suffix) -> None:
    given = from_file(write(multilabel(), ".jsonl"))
    assert import_predictions(write(multilabel(), ".jsonl"), tmp_path / "run") == 40
    file = tmp_path / f"out.{suffix}"
    assert export_run(tmp_path / "run", file) == 40
    for found in (from_store(tmp_path / "run"), from_file(file)):
        assert found.records == given.records
        assert (found.kind, found.labels) == (given.kind, given.labels)
    assert given.records[3].attempts == 2
    assert given.records[5].columns == {"site": "'=z", "age": "45"}


def test_every_format_holds_the_same_bytes_after_a_second_trip(write, tmp_path) -> None:
    import_predictions(write(multilabel(), ".jsonl"), tmp_path / "run")
    for suffix in FORMATS:
        export_run(tmp_path / "run", tmp_path / f"one.{suffix}")
        import_predictions(tmp_path / f"one.{suffix}", tmp_path / f"run-{suffix}")
        export_run(tmp_path / f"run-{suffix}", tmp_path / f"two.{suffix}")
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_an_imported_run_scores_like_its_file(write, arms_of, tmp_path) -> None:
    file = write(arms_of())
    import_predictions(file, tmp_path / "run")
    task = tmp_path / "task.yaml"
    task.write_text("name: t\nlabels: ['no', 'yes']\nintervals: {replicates: 100}\n")
    run = score_to_folder(tmp_path / "run", None, task, None)
    direct = score_to_folder(None, file, task, tmp_path / "direct")
    assert run.arms == direct.arms
    assert run.notes == direct.notes


def test_what_had_to_be_assumed_is_not_forgotten(write, tmp_path) -> None:
    import_predictions(write([{"sample_id": f"s{i}", "label": "ny"[i % 2], "p": 0.5} for i in range(4)]), tmp_path / "run")
    assert "probability of y" in from_store(tmp_path / "run").notes[0]


def test_importing_twice_changes_nothing_and_another_file_is_refused(write, tmp_path) -> None:
    file = write(multilabel(), ".jsonl")
    for _ in range(2):
        import_predictions(file, tmp_path / "run")
    assert len(from_store(tmp_path / "run").records) == 40
    with pytest.raises(StoreError, match="another file"):
        import_predictions(write(multilabel(30), ".jsonl"), tmp_path / "run")


def test_the_commands_do_the_same(medmm, write, tmp_path) -> None:
    assert medmm("eval", "import", write(multilabel(), ".jsonl"), "--out", tmp_path / "run").returncode == 0
    assert medmm("eval", "export", tmp_path / "run", "--format", "jsonl").returncode == 0
    assert from_file(tmp_path / "run" / "predictions.jsonl").records == from_store(tmp_path / "run").records
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (about["status"], about["counts"]) == ("finished", {"total": 40, "done": 40, "failed": 1})
    assert str(tmp_path) not in json.dumps(about)


def test_other_endings_and_folders_without_a_run_are_refused(write, tmp_path) -> None:
    import_predictions(write(multilabel(), ".jsonl"), tmp_path / "run")
    with pytest.raises(InputError, match="Expected a file name"):
        export_run(tmp_path / "run", tmp_path / "t.xlsx")
    with pytest.raises(StoreError, match="medmm eval import"):
        export_run(tmp_path / "none", tmp_path / "t.csv")


@pytest.mark.parametrize(("column", "cell"), [("attempts", "two"), ("logit__a", "x")])
def test_columns_with_a_meaning_are_checked(write, column, cell) -> None:
    rows = multilabel(6)
    rows[0][column] = cell
    with pytest.raises(PredictionsError, match="got something else"):
        from_file(write(rows))


def test_paths_of_export_are_never_told(write, tmp_path) -> None:
    import_predictions(write(multilabel(), ".jsonl"), tmp_path / "run")
    with pytest.raises(StoreError) as caught:
        export_run(tmp_path / "run", Path(tmp_path / "none" / "t.csv"))
    assert str(tmp_path) not in caught.value.message


def test_simulated_predictions_are_a_predictions_file(medmm, tmp_path) -> None:
    file = tmp_path / "simulated.parquet"
    assert medmm("eval", "simulate", file, "--patients", 20, "--slope", 0.6, "--seed", 2).returncode == 0
    found = from_file(file)
    assert (found.kind, len(found.labels), len(found.records)) == ("multilabel", 18, 40)
    rows = list(SimulatedModel(slope=0.6, seed=2).rows(20))
    write_rows(tmp_path / "ours.jsonl", list(rows[0]), rows)
    assert from_file(tmp_path / "ours.jsonl").records == found.records
    assert set(found.records[0].columns) == {"site", "sex", "age"}
