"""Training in two processes: the loss curve of one, written once, and over for all when one dies."""

from __future__ import annotations

import csv
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from medmm.cli import app
from medmm.training.processes import PREFIX

SCRIPT = """
import json, sys, torch
from pathlib import Path
from torch import nn
from torch.nn import functional
from medmm.training import TrainConfig
from medmm.training.trainer import Standing, Trainer

class Regression:  # a mean of squares: shares of any size must add up to the batch
    def __init__(self, model):
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(26, 5, generator=generator)
        self.y = self.x @ torch.arange(5.0)[:, None]
        self.model = model
    def __len__(self): return len(self.x)
    def begin_epoch(self, seed): pass
    def loss(self, chosen): return functional.mse_loss(self.model.used(self.x[chosen]), self.y[chosen])

torch.manual_seed(0)
model = nn.Module()
model.used, model.unused = nn.Linear(5, 1), nn.Linear(5, 1)
before = model.unused.weight.detach().clone()
objective = Regression(model)
choices = {"epochs": int(sys.argv[2]), "batch_size": 9, "learning_rate": 0.5} | json.loads(sys.argv[3])
trainer = Trainer(model, objective, TrainConfig(**choices))
out = trainer.together.folder(Path(sys.argv[1]))
out.mkdir(parents=True, exist_ok=True)
judge = lambda averaged: Standing(-float(objective.loss(list(range(26))).detach()), 0.0, {})
progress = trainer.run(out / "checkpoint", judge, dict, log=lambda *_: None, on_progress=lambda _: None)
(out / "curve.json").write_text(json.dumps([row["loss/train"] for row in progress.history]))
if trainer.together.count > 1:
    gloo = torch.distributed.group.WORLD._get_backend(torch.device("cpu"))
    (out / "patience.json").write_text(json.dumps(gloo.options._timeout.total_seconds()))
(out / "unused.json").write_text(json.dumps(float((model.unused.weight.detach() - before).abs().max())))
"""
COMMANDS = """
import json, sys
from medmm.cli import app
for arguments in json.loads(sys.argv[1]):
    app(arguments, standalone_mode=False)
"""
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def run(command: list[str], environment: dict[str, str] = QUIET) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_two_processes_have_the_loss_curve_of_one_also_after_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "one"), "6", "{}"])
    runpy.run_path(str(script))
    run([*TWO, str(script), str(tmp_path / "two"), "6", "{}"])
    one, two = (json.loads((tmp_path / name / "curve.json").read_text()) for name in ("one", "two"))
    assert one[-1] < 0.7 * one[0]
    assert two == pytest.approx(one, rel=1e-4)
    assert json.loads((tmp_path / "two" / "unused.json").read_text()) == 0  # no decay of what no process learns
    assert json.loads((tmp_path / "two" / "patience.json").read_text()) == 24 * 3600  # while the first evaluates alone
    run([*TWO, str(script), str(tmp_path / "two"), "6", "{}"])  # both go on from the checkpoint of the first
    assert json.loads((tmp_path / "two" / "curve.json").read_text()) == two


def test_a_process_without_a_share_of_a_batch_trains_in_fp16_too(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run([*TWO, str(script), str(tmp_path / "two"), "1", json.dumps({"batch_size": 1, "precision": "fp16"})])
    assert len(json.loads((tmp_path / "two" / "curve.json").read_text())) == 1


def write_notes(path: Path, sides: tuple[str, ...] = ("train", "val")) -> Path:
    rows = []
    for i in range(64):
        side = sides[(i >= 40) + (i >= 52 and len(sides) > 2)]
        size = 5.5 + i % 7 / 2 if i % 2 else 1 + i % 5 / 2
        rows.append([f"S{i}", f"P{i}", f"Lesion of {size:.1f} cm.", "large" if i % 2 else "no_large", side])
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["study_id", "patient_id", "note", "label", "split"], *rows])
    return path


def train_command(cohort: Path, out: Path, epochs: int) -> list[str]:
    return ["-m", "medmm", "train", str(cohort), "--out", str(out), "--epochs", str(epochs), "--set", "width=16", "--device", "cpu"]


def test_a_process_that_dies_ends_all_and_the_same_command_goes_on_to_one_model(tmp_path: Path) -> None:
    cohort, out = write_notes(tmp_path / "cohort.csv"), tmp_path / "run"
    command, environment = [*TWO, *train_command(cohort, out, 25)], {**QUIET, "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    while not (out / "checkpoint.safetensors").exists():
        assert running.poll() is None, running.communicate()[1].decode()[-3000:]
        time.sleep(0.01)
    workers = [p for p in psutil.Process(running.pid).children(recursive=True) if "train" in p.cmdline()]
    assert len(workers) == 2
    os.kill(workers[1].pid, signal.SIGKILL)
    running.communicate(timeout=120)
    assert running.returncode != 0
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in workers)
    assert not (out / "sha256.json").exists()
    assert list(tmp_path.glob(f"{PREFIX}*"))  # the second was killed before it could remove what it wrote
    run(command, environment)
    assert not list(tmp_path.glob(f"{PREFIX}*"))
    assert (out / "sha256.json").exists()
    assert not list(out.glob("checkpoint*"))
    assert len(list(out.glob("tensorboard/events*"))) <= 2  # of the first process, before the kill and after


def test_a_comparison_and_a_search_are_trained_by_two_processes_and_written_once(tmp_path: Path) -> None:
    cohort = write_notes(tmp_path / "cohort.csv", sides=("train", "val", "test"))
    choices = ["--epochs", "2", "--set", "width=16", "--set", "tracker=none", "--device", "cpu"]
    compare = ["ablate", str(cohort), "--fusions", "late", "--subsets", "text", *choices, "--out"]
    (tmp_path / "space.yaml").write_text("learning_rate: [0.001, 0.002, 0.004]\n")
    search = ["tune", str(cohort), "--space", str(tmp_path / "space.yaml"), "--out", str(tmp_path / "study"), *choices]
    search += ["--sampler", "grid", "--trials"]
    (tmp_path / "script.py").write_text(COMMANDS)
    commands = [[*compare, str(tmp_path / "two")], [*search, "2"], [*search, "3"]]  # the last goes on
    said = run([*TWO, str(tmp_path / "script.py"), json.dumps(commands)])
    assert said.count("of the validation cases, on which the best was chosen") == 2  # by the first alone
    assert CliRunner().invoke(app, [*compare, str(tmp_path / "one")]).exit_code == 0
    one, two = (json.loads((tmp_path / name / "ablation.json").read_text()) for name in ("one", "two"))
    assert [row["name"] for row in two["rows"]] == [row["name"] for row in one["rows"]]
    assert two["n"] == one["n"] == 12
    with (tmp_path / "study" / "trials.csv").open(newline="", encoding="utf-8") as file:
        trials = list(csv.DictReader(file))
    assert [(t["state"], t["epochs"]) for t in trials] == [("complete", "2")] * 3
    assert {t["learning_rate"] for t in trials} == {"0.001", "0.002", "0.004"}
    assert (tmp_path / "study" / "best.yaml").exists()
