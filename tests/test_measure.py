"""Masks of a cohort become columns; what cannot be read stays empty and is counted."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from medmm.errors import CohortError, MaskError
from medmm.measure import MEASURED, measure_cohort
from medmm.shape import shape_of
from medmm.table import read_rows, write_csv

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    values = np.zeros((20, 20, 12), dtype=np.int16)
    values[2:12, 3:9, 2:8] = 1
    values[14:17, 14:17, 3:6] = 5
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / "a.nii.gz")
    (tmp_path / "bad.nii.gz").write_bytes(b"not an image")
    rows = [("A", "a.nii.gz", "yes"), ("B", "", "no"), ("C", "bad.nii.gz", "no")]
    write_csv(
        tmp_path / "cohort.csv",
        ["study_id", "mask", "label"],
        [dict(zip(("study_id", "mask", "label"), r, strict=True)) for r in rows],
    )
    return tmp_path / "cohort.csv"


def test_every_region_gets_its_columns(cohort: Path) -> None:
    out = cohort.with_name("measured.csv")
    found = measure_cohort(cohort, out, {"organ": 1, "lesion": 5, "cyst": 3})
    assert (found.read, found.missing, sum(found.failed.values())) == (1, 1, 1)
    rows = {row["study_id"]: row for row in read_rows(out, CohortError)}
    region = np.zeros((10, 6, 6), dtype=bool) | True
    expected = shape_of(region, AFFINE)
    for name in MEASURED:
        assert float(rows["A"][f"organ_{name}"]) == pytest.approx(getattr(expected, name), rel=1e-5)
    assert float(rows["A"]["lesion_ml"]) == pytest.approx(27 * 2 / 1000)
    assert (rows["A"]["cyst_ml"], rows["A"]["cyst_diameter_mm"]) == ("0", "")
    assert all(rows[name][column] == "" for name in "BC" for column in found.columns)
    assert [row["label"] for row in rows.values()] == ["yes", "no", "no"]


def test_what_would_be_wrong_is_refused(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="no"):
        measure_cohort(cohort, cohort.with_name("m.csv"), {"organ": 1}, column="segmentation")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(CohortError, match="folder"):
        measure_cohort(cohort, tmp_path / "elsewhere" / "m.csv", {"organ": 1})
    with pytest.raises(CohortError, match="folder"):
        measure_cohort(cohort, cohort, {"organ": 1})
    once = cohort.with_name("once.csv")
    measure_cohort(cohort, once, {"organ": 1})
    with pytest.raises(CohortError, match="organ_ml"):
        measure_cohort(once, cohort.with_name("twice.csv"), {"organ": 1})


def test_a_cohort_of_which_no_mask_can_be_read_is_refused(cohort: Path) -> None:
    write_csv(cohort, ["study_id", "mask"], [{"study_id": "C", "mask": "bad.nii.gz"}])
    with pytest.raises(MaskError):
        measure_cohort(cohort, cohort.with_name("m.csv"), {"organ": 1})
    assert not cohort.with_name("m.csv").exists()
