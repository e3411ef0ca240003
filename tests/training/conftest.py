"""Cohorts of notes whose label is a matter of size: learned in a second, without images."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medmm.training import TrainConfig

Rows = list[dict[str, Any]]

TEXT_ONLY = TrainConfig(epochs=4, width=32, learning_rate=4e-3)
"""Choices that train on notes in about a second."""


@pytest.fixture(scope="session")
def text_only() -> TrainConfig:
    return TEXT_ONLY


@pytest.fixture(scope="session")
def note_rows() -> Callable[..., Rows]:
    """Function that makes n rows; column values are given as functions of the row number."""

    def make(n: int, seed: int = 0, **columns: Callable[[int], Any]) -> Rows:
        rng = np.random.default_rng(seed)
        rows: Rows = []
        for i in range(n):
            size = rng.uniform(5.5, 9) if i % 2 else rng.uniform(1, 4)
            loss = ("Reports", "Denies")[int(rng.integers(2))]
            row: dict[str, Any] = {
                "study_id": f"S{i}",
                "patient_id": f"P{i}",
                "note": f"{rng.integers(40, 85)}-year-old. Lesion of {size:.1f} cm. {loss} weight loss.",
                "label": "large" if i % 2 else "no_large",
                "split": "train" if i < 0.6 * n else "val" if i < 0.85 * n else "test",
            }
            rows.append(row | {name: value(i) for name, value in columns.items()})
        return rows

    return make


@pytest.fixture(scope="session")
def write_cohort() -> Callable[[Path, Rows], Path]:
    """Function that writes rows as a cohort table into a folder."""

    def write(folder: Path, rows: Rows) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "cohort.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


@pytest.fixture(scope="session")
def note_cohort(note_rows: Any, write_cohort: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty notes with a stated split."""
    path: Path = write_cohort(tmp_path_factory.mktemp("notes"), note_rows(80))
    return path


@pytest.fixture(scope="session")
def imaged_rows(note_rows: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Rows]:
    """Function that makes rows with a small CT each, a bright block in it when the label is positive."""
    import nibabel

    folder = tmp_path_factory.mktemp("images")

    def make(n: int) -> Rows:
        rows: Rows = note_rows(n)
        for i, row in enumerate(rows):
            rng = np.random.default_rng(i)
            array = rng.normal(-700, 60, (16, 16, 10)).astype(np.int16)
            if i % 2:
                array[5:11, 5:11, 3:7] = 60
            path = folder / f"{i}.nii"
            nibabel.Nifti1Image(array, np.diag([-4.0, -4.0, 6.0, 1.0])).to_filename(path)
            row["image"] = str(path)
        return rows

    return make
