from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from medmm import open_study
from medmm.sources.phantom.anatomy import Chest, draw_chest
from medmm.sources.phantom.write import write_dicom, write_nifti, write_zip


@pytest.fixture(scope="module")
def chest() -> Chest:
    return draw_chest(np.random.default_rng(8), mass=True, matrix=48)


@pytest.mark.parametrize("writer", [write_dicom, write_zip, write_nifti])
def test_what_was_drawn_is_read_back(chest: Chest, tmp_path: Path, writer: object) -> None:
    volume = open_study(writer(chest, tmp_path, "S1P00007")).volumes[0]
    np.testing.assert_array_equal(volume.array[0], chest.hu)
    np.testing.assert_allclose(volume.grid.affine, chest.grid.affine, atol=1e-5)
    assert volume.unit == "HU"


def test_dicom_files_are_ct_images_that_pydicom_reads_without_complaint(chest: Chest, tmp_path: Path) -> None:
    files = sorted(write_dicom(chest, tmp_path, "S1P00007").iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slices = [pydicom.dcmread(f) for f in files]
    assert len(slices) == chest.grid.shape[2]
    assert len({s.SOPInstanceUID for s in slices}) == len(slices)
    assert {s.SeriesInstanceUID for s in slices} == {slices[0].SeriesInstanceUID}
    assert {(s.file_meta.MediaStorageSOPClassUID.name, s.Modality, s.PatientID) for s in slices} == {
        ("CT Image Storage", "CT", "S1P00007")
    }
    assert [s.InstanceNumber for s in slices] != sorted(s.InstanceNumber for s in slices)  # names do not tell the order


def test_a_zip_holds_the_very_files_of_the_folder(chest: Chest, tmp_path: Path) -> None:
    folder, packed = write_dicom(chest, tmp_path, "S1P00007"), write_zip(chest, tmp_path, "S1P00007")
    with zipfile.ZipFile(packed) as archive:
        assert {n: archive.read(n) for n in archive.namelist()} == {f.name: f.read_bytes() for f in folder.iterdir()}


def test_nifti_states_millimetres_and_both_forms(chest: Chest, tmp_path: Path) -> None:
    header = nibabel.load(write_nifti(chest, tmp_path, "S1P00007")).header
    assert header.get_xyzt_units()[0] == "mm"
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 2)


@pytest.mark.parametrize("writer", [write_dicom, write_zip, write_nifti])
def test_writing_twice_gives_the_same_bytes(chest: Chest, tmp_path: Path, writer: object) -> None:
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written = writer(chest, tmp_path / name, "S1P00007")
        files = sorted(written.iterdir()) if written.is_dir() else [written]
        contents.append([(f.name, f.read_bytes()) for f in files])
    assert contents[0] == contents[1]
