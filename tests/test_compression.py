"""A smaller model: opens as any other, answers as before within what is stated, and says what was done to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from medmm import open_study
from medmm.cli import app
from medmm.compression import compress
from medmm.errors import CohortError, ModelError, StoreError, TaskError
from medmm.inference import load_model
from medmm.model_folder import load_model_folder
from medmm.packed import Int8Linear, Packing
from medmm.shelf import find_model
from medmm.table import read_rows, write_csv

MODEL = "phantom"


@pytest.fixture(scope="module")
def few(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Table of four synthetic patients."""
    rows = read_rows(phantom / "cohort.csv", CohortError)[:4]
    table = tmp_path_factory.mktemp("few") / "cohort.csv"
    write_csv(table, list(rows[0]), [{**row, "image": row["image"] and str(phantom / row["image"])} for row in rows])
    return table


@pytest.fixture(scope="module")
def small(few: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A compressed model, and what the command said of it."""
    out = tmp_path_factory.mktemp("small") / "model"
    done = CliRunner().invoke(
        app, ["compress", MODEL, str(out), "--check", str(few), "--int8", "--prune", "0.2", "--stored", "float16", "--json"]
    )
    assert done.exit_code == 0, done.output
    return out, json.loads(done.stdout)


def test_the_numbers_said_are_those_of_the_files_and_of_the_models(small: tuple[Path, dict[str, float]], few: Path) -> None:
    out, said = small
    before, after = (folder / "model.safetensors" for folder in (find_model(MODEL), out))
    assert (said["bytes_before"], said["bytes_after"]) == (before.stat().st_size, after.stat().st_size)
    assert said["bytes_after"] < 0.3 * said["bytes_before"]
    assert said["studies"] + said["failed"] == 4
    assert said["time_ratio"] > 0
    models = load_model(MODEL), load_model(out)
    largest = 0.0
    for row in read_rows(few, CohortError):
        study = open_study(row["image"] or None, note=row["note"] or None)
        first, second = (m.predict(study).answer.probabilities for m in models)
        largest = max(largest, *(abs(first[label] - second[label]) for label in first))
    assert 0 < largest <= said["largest_change"] < 0.05


def test_the_folder_opens_as_any_other_and_keeps_what_still_holds(small: tuple[Path, dict[str, float]]) -> None:
    out, said = small
    original, opened = (load_model_folder(folder, torch.device("cpu")) for folder in (find_model(MODEL), out))
    assert opened.packing == Packing(int8=True, pruned=0.2, stored="float16")
    assert sum(isinstance(m, Int8Linear) for m in opened.model.modules()) == said["int8_layers"] > 0
    assert opened.calibrators.keys() == original.calibrators.keys()
    assert opened.thresholds == original.thresholds
    assert opened.digest != original.digest
    assert opened.results is None  # it was measured with other weights
    assert (out / "split.csv").read_bytes() == (find_model(MODEL) / "split.csv").read_bytes()
    for word in ("made smaller", original.digest[:12], "20%", "8-bit", "float16", "Not measured yet"):
        assert word in opened.card
    assert "model-index" not in opened.card
    assert "model-index" in original.card


def test_an_altered_small_model_is_refused(small: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    shutil.copytree(small[0], tmp_path / "m")
    content = bytearray((tmp_path / "m" / "model.safetensors").read_bytes())
    content[-100] ^= 1
    (tmp_path / "m" / "model.safetensors").write_bytes(bytes(content))
    with pytest.raises(ModelError, match="altered"):
        load_model_folder(tmp_path / "m", torch.device("cpu"))


def test_what_cannot_be_done_is_refused_and_leaves_nothing(small: tuple[Path, dict[str, float]], few: Path, tmp_path: Path) -> None:
    model, out = find_model(MODEL), tmp_path / "out"
    with pytest.raises(TaskError, match="something to do"):
        compress(model, out, Packing(), few)
    with pytest.raises(ModelError, match="compressed before"):
        compress(small[0], out, Packing(int8=True), few)
    with pytest.raises(ModelError, match="Compress less"):
        compress(model, out, Packing(pruned=0.95), few, tolerance=0.01)
    with pytest.raises(CohortError, match="none of 0"):
        compress(model, out, Packing(int8=True), few, split="nowhere")
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(StoreError, match="something at"):
        compress(model, out, Packing(int8=True), few)
    assert [f.name for f in out.iterdir()] == ["mine"]
