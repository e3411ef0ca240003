"""kill -9 and a full disk: nothing lost, nothing twice, the same end. The long sweep is `kill_sweep.py` run by hand."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from medmm.evaluation.predictions import from_store
from medmm.evaluation.run import run_evaluation
from medmm.store import RunStore

SWEEP = Path(__file__).with_name("kill_sweep.py")


def test_a_run_killed_at_random_and_after_its_operations_ends_as_if_undisturbed() -> None:
    command = [sys.executable, str(SWEEP), "--studies", "8", "--kills", "20", "--operations", "12"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 0, (found, done.stderr)
    assert (found["kills"], found["kills_after_operations"]) == (20, 12)
    assert found["operations"] > 3 * 8  # begin, insert and commit of every study among them
    assert found["compared metrics.json"] >= 2
    assert [found[name] for name in ("lost", "duplicate", "corrupt", "different predictions.csv", "different metrics.json")] == [
        0
    ] * 5


@pytest.mark.parametrize("room", [60_000])
def test_a_full_disk_ends_with_a_named_error_and_the_run_can_be_finished(notes_cohort, notes_model, tmp_path, room) -> None:
    cohort = notes_cohort(tmp_path, 60, seed=7)
    run_evaluation(cohort, notes_model, tmp_path / "undisturbed")
    command = [sys.executable, "-m", "medmm", "eval", "run", cohort, "--model", notes_model, "--out", tmp_path / "run"]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "E_STORE: Expected to write" in done.stderr
    assert str(tmp_path) not in done.stderr
    with RunStore(tmp_path / "run") as store:
        kept = list(store.records())
    assert len(kept) < 60
    run_evaluation(cohort, notes_model, tmp_path / "run")
    assert from_store(tmp_path / "run").records[: len(kept)] == tuple(kept)  # to the second each took: none was made again
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (tmp_path / "undisturbed" / "predictions.csv").read_bytes()
