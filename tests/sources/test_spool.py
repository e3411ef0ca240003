from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medmm import open_study
from medmm.errors import NoImageError
from medmm.sources.spool import read_study, write_study


def test_a_study_comes_back_as_it_was_but_for_its_note(patient_zip: Path, tmp_path: Path) -> None:
    study = open_study(patient_zip, note="SECRET note")
    study = replace(study, volumes=(replace(study.volumes[0], window=(350.0, 40.5)),))
    write_study(study, tmp_path)
    back = read_study(tmp_path)
    np.testing.assert_array_equal(back.volumes[0].array, study.volumes[0].array)
    np.testing.assert_array_equal(back.volumes[0].grid.affine, study.volumes[0].grid.affine)
    assert back.volumes[0].array.dtype == study.volumes[0].array.dtype
    assert (back.volumes[0].unit, back.volumes[0].modality) == ("HU", "CT")
    assert back.volumes[0].window == (350.0, 40.5)
    assert (back.notices, back.provenance, back.note) == (study.notices, study.provenance, None)
    assert all(b"SECRET" not in file.read_bytes() for file in tmp_path.iterdir())


def test_notices_and_what_was_left_out_survive(phantom: Path, tmp_path: Path) -> None:
    folder = next((phantom / "images").iterdir())
    study = open_study(next(folder.iterdir())).with_notices()
    write_study(study, tmp_path)
    assert read_study(tmp_path).notices == study.notices
    assert [n.code for n in study.notices] == ["W_SINGLE_SLICE"]


@pytest.mark.parametrize("gone", ["study.json", "volume0.npy"])
def test_a_study_that_was_cleaned_away_is_refused(patient_zip: Path, tmp_path: Path, gone: str) -> None:
    write_study(open_study(patient_zip), tmp_path)
    (tmp_path / gone).unlink()
    with pytest.raises(NoImageError, match="Open it again"):
        read_study(tmp_path)


def test_a_study_without_images_can_be_spooled(tmp_path: Path) -> None:
    write_study(open_study(None), tmp_path)
    assert read_study(tmp_path) == open_study(None)
