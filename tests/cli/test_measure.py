"""`medmm measure`: regions are named exactly, and what could not be read shows in the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from medmm.cli import app
from medmm.table import write_csv


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    values = np.zeros((9, 9, 9), dtype=np.int16)
    values[2:6, 2:6, 2:6] = 2
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii.gz")
    write_csv(tmp_path / "cohort.csv", ["study_id", "mask"], [{"study_id": "A", "mask": "a.nii.gz"}])
    return tmp_path / "cohort.csv"


def run(cohort: Path, regions: str, *more: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["measure", str(cohort), str(cohort.with_name("out.csv")), "--regions", regions, *more])
    return result.exit_code, result.stdout


def test_columns_are_named_after_the_regions(cohort: Path) -> None:
    code, said = run(cohort, "lesion=2", "--json")
    assert code == 0
    assert json.loads(said)["columns"][0] == "lesion_ml"


def test_a_mask_that_cannot_be_read_shows_in_the_exit_code(cohort: Path) -> None:
    (cohort.parent / "b.nii.gz").write_bytes(b"\0" * 400)
    write_csv(cohort, ["study_id", "mask"], [{"study_id": n, "mask": f"{n.lower()}.nii.gz"} for n in "AB"])
    code, said = run(cohort, "lesion=2", "--json")
    assert code == 3
    assert sum(json.loads(said)["failed"].values()) == 1


@pytest.mark.parametrize("regions", ["lesion", "lesion=0", "lesion=x", "a=1,a=2", "my lesion=1", ""])
def test_regions_that_make_no_sense_are_refused(cohort: Path, regions: str) -> None:
    assert run(cohort, regions)[0] != 0
    assert not cohort.with_name("out.csv").exists()
