"""Distillation: a student learns what its teacher says of training cases, and nothing else moves."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medmm import open_study
from medmm.errors import CohortError, LeakageError, ModelError, TaskError
from medmm.inference import Predictor
from medmm.sources.cohort import read_cohort
from medmm.training import TrainConfig, train
from medmm.training.teacher import Teacher

CPU = torch.device("cpu")
LABELS = ("no_large", "large")
FUSED = TrainConfig(epochs=10, width=16, voxels=8**3, learning_rate=4e-3)
IMAGE_ONLY = replace(FUSED, modalities=("image",), distill_weight=1.0)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cohort(imaged_rows: Any, write_cohort: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = write_cohort(tmp_path_factory.mktemp("cohort"), imaged_rows(60))
    return path


@pytest.fixture(scope="module")
def fused(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(cohort, tmp_path_factory.mktemp("fused") / "teacher", FUSED, labels=LABELS).folder


@pytest.fixture(scope="module")
def student(cohort: Path, fused: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("student") / "image"
    return train(cohort, out, IMAGE_ONLY, teacher=Teacher.open(fused, CPU)).folder


def test_a_teacher_says_of_every_case_what_the_model_itself_says(cohort: Path, fused: Path, tmp_path: Path) -> None:
    cases = [replace(c, note=None) if i == 2 else c for i, c in enumerate(read_cohort(cohort, labels=LABELS).cases[:5])]
    said = Teacher.open(fused, CPU).answer(cases, tmp_path / "cache", lambda *_: None)
    model = Predictor.load(fused, "cpu")
    for case, answer in zip(cases, said, strict=True):
        note = case.read_note()
        expected = model.predict(open_study(case.images[0], note=note.text if note else None)).answer.probabilities
        assert answer == pytest.approx([expected[name] for name in LABELS], abs=1e-4)


def test_a_student_of_images_alone_learns_from_the_word_of_a_fused_teacher(cohort: Path, student: Path) -> None:
    """Its labels weigh nothing here, so all it knows its teacher told it."""
    predictor = Predictor.load(student, "cpu")
    assert predictor.folder.model.config.modalities == ("image",)
    rows = [r for r in rows_of(cohort) if r["split"] == "test"]
    p = [predictor.predict(open_study(r["image"])).answer.probabilities[r["label"]] for r in rows]
    assert -np.mean(np.log(p)) < 0.5 * np.log(2)  # chance says log 2


def test_the_card_and_the_record_name_the_teacher_by_its_digest(fused: Path, student: Path) -> None:
    digest = Teacher.open(fused, CPU).folder.digest
    assert f"Distilled from `teacher` (SHA-256 `{digest}`)" in (student / "card.md").read_text()
    assert "36 of 36 training studies" in (student / "card.md").read_text()
    assert json.loads((student / "train.json").read_text())["teacher"] == digest


def test_the_teacher_is_left_as_it_was_and_an_interrupted_student_ends_the_same(
    cohort: Path, fused: Path, student: Path, tmp_path: Path
) -> None:
    points = [("asking the teacher", 20), ("training", 3)]

    def interrupt(what: str, done: int, _: int) -> None:
        if points[:1] == [(what, done)]:
            points.pop(0)
            raise KeyboardInterrupt

    before = bytes_of(fused)
    while points:
        with pytest.raises(KeyboardInterrupt):
            train(cohort, tmp_path / "image", IMAGE_ONLY, teacher=Teacher.open(fused, CPU), on_progress=interrupt)
    train(cohort, tmp_path / "image", IMAGE_ONLY, teacher=Teacher.open(fused, CPU))
    assert bytes_of(fused) == before
    assert (tmp_path / "image" / "model.safetensors").read_bytes() == (student / "model.safetensors").read_bytes()


@pytest.mark.filterwarnings("ignore::medmm.training.partners.IdleWarning")  # without images or a teacher
def test_a_weight_of_nothing_is_training_without_a_teacher(cohort: Path, fused: Path, tmp_path: Path) -> None:
    deaf = replace(FUSED, epochs=2, modalities=("text",), distill_weight=0.0)
    train(cohort, tmp_path / "alone", deaf, labels=LABELS)
    train(cohort, tmp_path / "taught", deaf, teacher=Teacher.open(fused, CPU))
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("alone", "taught")]
    assert weights[0] == weights[1]


def test_a_teacher_that_knows_whom_the_student_is_measured_on_is_refused(
    imaged_rows: Any, write_cohort: Any, fused: Path, tmp_path: Path
) -> None:
    for side in ("val", "test"):
        rows = imaged_rows(60)
        rows[0]["split"] = side  # the teacher was trained on this one
        with pytest.raises(LeakageError, match="1 are known"):
            train(write_cohort(tmp_path / side, rows), tmp_path / f"run-{side}", IMAGE_ONLY, teacher=Teacher.open(fused, CPU))


def test_a_teacher_of_other_labels_or_with_folds_is_refused(cohort: Path, fused: Path, tmp_path: Path) -> None:
    teacher = Teacher.open(fused, CPU)
    with pytest.raises(TaskError, match="teacher's labels"):
        train(cohort, tmp_path / "run", IMAGE_ONLY, labels=("no_large", "huge", "large"), teacher=teacher)
    with pytest.raises(TaskError, match="not both"):
        train(cohort, tmp_path / "run", IMAGE_ONLY, folds=3, teacher=teacher)
    assert not (tmp_path / "run").exists()


def test_a_teacher_without_calibration_or_without_an_answer_is_refused(
    note_rows: Any, write_cohort: Any, cohort: Path, fused: Path, tmp_path: Path
) -> None:
    small = write_cohort(tmp_path, note_rows(20))
    raw = train(small, tmp_path / "raw", TrainConfig(epochs=1, width=16), labels=LABELS).folder
    with pytest.raises(ModelError, match="calibrated teacher"):
        Teacher.open(raw, CPU)
    mute = [replace(c, images=(), note=None) for c in read_cohort(cohort, labels=LABELS).cases[:3]]
    with pytest.raises(CohortError, match="calibrated answer for none"):
        Teacher.open(fused, CPU).answer(mute, tmp_path / "cache", lambda *_: None)
