"""Tables of predictions in every format, and the command line in a process of its own."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medmm.table import write_csv

Rows = list[dict[str, Any]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """(rows, suffix) to a table file holding them."""

    def build(rows: Rows, suffix: str = ".csv") -> Path:
        path = tmp_path / f"given{suffix}"
        if suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        elif suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)
        return path

    return build


@pytest.fixture(scope="session")
def arms_of() -> Callable[..., Rows]:
    """(n, seed) to rows of the arms full, image and text for n patients, full the best of them."""

    def build(n: int = 60, seed: int = 0) -> Rows:
        rng = np.random.default_rng(seed)
        image, text = rng.normal(size=(2, n))
        y = rng.random(n) < 1 / (1 + np.exp(-2 * (image + text)))
        logits = {"full": 2 * (image + text), "image": image, "text": text}
        return [
            {
                "sample_id": f"s{i}", "patient_id": f"p{i}", "arm": arm, "label": ("no", "yes")[int(y[i])],
                "p__no": 1 / (1 + np.exp(z[i])), "p__yes": 1 / (1 + np.exp(-z[i])), "code": "",
            }
            for arm, z in logits.items() for i in range(n)
        ]  # fmt: skip

    return build


@pytest.fixture(scope="session")
def notes_cohort() -> Callable[..., Path]:
    """(folder, n, seed) to a cohort table of n notes whose label is a matter of size, all of the split test."""

    def build(folder: Path, n: int = 60, seed: int = 0, split: Callable[[int], str] = lambda _: "test") -> Path:
        rng, rows = np.random.default_rng(seed), []
        for i in range(n):
            size = rng.uniform(5, 9) if i % 2 else rng.uniform(1, 6)
            rows.append({"study_id": f"S{seed}-{i}", "patient_id": f"P{seed}-{i}", "image": "", "split": split(i),
                         "note": f"{rng.integers(40, 85)}-year-old. Lesion of {size:.1f} cm.", "site": "xyz"[i % 3],
                         "label": "large" if i % 2 else "no_large"})  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "cohort.csv"
        write_csv(path, list(rows[0]), rows)
        return path

    return build


@pytest.fixture(scope="session")
def notes_model(notes_cohort: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folder that reads nothing but notes: trained in seconds, answers in milliseconds."""
    from medmm.training import TrainConfig, train

    folder = tmp_path_factory.mktemp("notes")
    cohort = notes_cohort(folder, split=lambda i: "train" if i < 40 else "val")
    train(cohort, folder / "model", TrainConfig(epochs=2, width=32), labels=("no_large", "large"))
    return folder / "model"


@pytest.fixture(scope="session")
def medmm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line, run to its end; `env` adds to the environment."""

    def run(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "medmm", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **(env or {})}, check=False)

    return run
