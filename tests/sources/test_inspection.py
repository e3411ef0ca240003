"""What an inspection says is what opening the same path then does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medmm import open_study
from medmm.errors import InputError, NoImageError
from medmm.sources.inspection import inspect_path

Make = Callable[..., list[Dataset]]
Save = Callable[..., Path]


def test_every_series_is_listed_and_the_one_marked_is_the_one_read(ct: Make, save: Save) -> None:
    mixed = [*ct(3, shape=(4, 4)), *ct(6), *ct(2, shape=(5, 5), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])]
    inspection, study = inspect_path(save(mixed)), open_study(save(mixed))
    assert [found.chosen for found in inspection.found] == [True, False]
    chosen = inspection.found[0]
    assert chosen.description == study.provenance.chosen
    assert chosen.geometry == study.volumes[0].grid.summary()
    assert chosen.uid == mixed[3].SeriesInstanceUID
    assert open_study(save(mixed), series=inspection.found[1].uid).volumes[0].grid.summary() == inspection.found[1].geometry
    assert inspection.left_out == (("localizer", 2),)
    assert inspection.code == ""


@pytest.mark.parametrize("without", [2, 5])
def test_a_series_that_would_be_refused_says_why(ct: Make, save: Save, without: int) -> None:
    slices = ct(9)
    del slices[without]
    folder = save(slices)
    (found,) = inspect_path(folder).found
    with pytest.raises(InputError) as caught:
        open_study(folder)
    assert (found.code, found.message, found.geometry) == (caught.value.code, caught.value.message, None)
    assert found.code == "E_MISSING_SLICES"


def test_a_tie_chooses_nothing_but_names_both(ct: Make, save: Save) -> None:
    inspection = inspect_path(save([*ct(4), *ct(4)]))
    assert inspection.code == "E_MULTI_SERIES"
    assert not any(found.chosen for found in inspection.found)
    assert len({found.uid for found in inspection.found}) == 2


def test_pixels_are_not_needed(ct: Make, save: Save) -> None:
    slices = ct(3)
    for dataset in slices:
        del dataset.PixelData
    assert inspect_path(save(slices)).found[0].geometry is not None


def test_zip_and_folder_say_the_same(ct: Make, save: Save, zipped: Callable[[Path], Path]) -> None:
    folder = save([*ct(4), *ct(2, shape=(3, 3))])
    assert inspect_path(zipped(folder)) == inspect_path(folder)


def test_a_nifti_image_is_described(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.full((4, 5, 6), -1000, np.int16), np.diag([1, 2, 3, 1]))
    nibabel.save(image, tmp_path / "a.nii.gz")
    (found,) = inspect_path(tmp_path / "a.nii.gz").found
    assert found.chosen
    assert found.geometry is not None
    assert found.geometry["shape"] == [4, 5, 6]
    assert [code for code, _ in found.warnings] == ["W_ASSUMED_HU"]


def test_no_image_at_all_is_said_and_no_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing")
    assert inspect_path(tmp_path).code == "E_NO_IMAGE"
    with pytest.raises(NoImageError):
        inspect_path(tmp_path / "nowhere")


def test_the_command_prints_one_json_document_without_the_patients_name(ct: Make, save: Save) -> None:
    command = [sys.executable, "-m", "medmm", "inspect", str(save(ct(4))), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    content = json.loads(done.stdout)
    assert content["found"][0]["chosen"]
    assert content["found"][0]["geometry"]["shape"] == [9, 7, 4]
    assert "SECRET" not in done.stdout + done.stderr
    told = subprocess.run(command[:-1], capture_output=True, text=True, timeout=60, check=True).stdout
    assert told.startswith("-> CT series of 4 slices, 9 x 7")


def test_each_series_says_what_it_is(ct: Make, save: Save) -> None:
    slices = ct(4, step=-2.5)
    for dataset in slices:
        dataset.compress(pydicom.uid.RLELossless)
    report = ct(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.67", Modality="SR")
    pet = ct(3, Modality="PT", Units="BQML", shape=(4, 4), series="1.2.826.0.8", SOPClassUID="1.2.840.10008.5.1.4.1.1.128")
    inspection = inspect_path(save([*slices, *report, *pet, *ct(1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])]))
    chosen, other = inspection.found
    assert (chosen.kind, chosen.values, chosen.transfer_syntax, chosen.lossy) == ("axial CT", "HU", "RLE", False)
    assert (chosen.files, chosen.distances_mm, chosen.missing, chosen.tilt_degrees) == (4, (2.5, 2.5, 2.5), 0, 0.0)
    assert (other.kind, other.values, other.transfer_syntax) == ("axial PET", "BQML", "explicit little endian")
    assert [(o.kind, o.files) for o in inspection.others] == [("dose report", 1), ("localizer", 1)]


def test_a_refused_series_still_shows_how_its_slices_lie(ct: Make, save: Save) -> None:
    slices = ct(9, step=(0, 0.9, 2.5))
    del slices[4]
    (found,) = inspect_path(save(slices)).found
    assert (found.geometry, found.missing, found.distances_mm) == (None, 1, (2.5, 2.5, 5.0))
    assert found.tilt_degrees == pytest.approx(19.8, abs=0.01)
    (mended,) = inspect_path(save(slices), repair=("fill", "deskew")).found
    assert mended.code == ""
    assert mended.geometry["shape"][2] == 9


def test_values_that_are_not_hounsfield_units_are_said_without_reading_pixels(ct: Make, save: Save) -> None:
    slices = ct(3)
    for dataset in slices:
        del dataset.RescaleSlope, dataset.PixelData
    (found,) = inspect_path(save(slices)).found
    assert (found.code, found.values) == ("E_NOT_HU", "not HU")


def test_phases_are_listed_under_the_names_that_open_them(ct: Make, save: Save) -> None:
    slices = [*ct(4, series="1.2.826.0.5", AcquisitionNumber=1), *ct(4, series="1.2.826.0.5", AcquisitionNumber=2)]
    folder = save(slices)
    inspection = inspect_path(folder)
    assert [found.name for found in inspection.found] == ["1.2.826.0.5#1", "1.2.826.0.5#2"]
    assert [found.chosen for found in inspection.found] == [True, False]
    for found in inspection.found:
        assert open_study(folder, series=found.name).provenance.chosen == found.description


def test_the_number_of_a_series_opens_it_and_depends_on_no_file_name(ct: Make, save: Save) -> None:
    series = [ct(3, series=f"1.2.826.0.{n}", shape=(7, 5 + n)) for n in (4, 2, 9)]
    folder, turned = save([s for one in series for s in one]), save([s for one in series[::-1] for s in one], "SECRET_turned")
    found = inspect_path(folder).found
    assert [f.number for f in found] == [1, 2, 3]
    assert [f.uid for f in found] == [f.uid for f in inspect_path(turned).found]
    for one in found:
        by_number, by_name = (open_study(turned, series=name).volumes[0] for name in (str(one.number), one.name))
        assert np.array_equal(by_number.array, by_name.array)
        assert by_number.grid.summary() == one.geometry
    with pytest.raises(NoImageError):
        open_study(folder, series="4")


def test_parts_of_one_series_are_numbered_by_what_they_hold(ct: Make, save: Save) -> None:
    parts = [ct(3, series="1.2.826.0.5", shape=(7, columns)) for columns in (5, 8)]
    there, back = save([*parts[0], *parts[1]]), save([*parts[1], *parts[0]], "SECRET_back")
    for name in ("1.2.826.0.5#1", "1.2.826.0.5#2"):
        assert np.array_equal(*(open_study(folder, series=name, repair=()).volumes[0].array for folder in (there, back)))
