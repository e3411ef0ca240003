"""Enhanced objects: made by highdicom from real slices, and by hand for what it does not make."""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless, generate_uid

from medmm import open_study
from medmm.errors import MissingSlicesError, NoImageError
from medmm.sources.inspection import inspect_path

Make = Callable[..., list[Dataset]]
Save = Callable[..., Path]


def item(**tags: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def enhanced(slices: list[Dataset], order: list[int] | None = None, times: list[int] | None = None) -> Dataset:
    """One Enhanced CT object of single-frame slices: rescale and position by frame, the rest shared."""
    order = order or list(range(len(slices)))
    whole = copy.deepcopy(slices[0])
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    whole.SOPInstanceUID = whole.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    whole.NumberOfFrames = len(order)
    shared, frames = Dataset(), []
    shared.PlaneOrientationSequence = Sequence([item(ImageOrientationPatient=whole.ImageOrientationPatient)])
    shared.PixelMeasuresSequence = Sequence([item(PixelSpacing=whole.PixelSpacing, SliceThickness="1")])
    shared.CTImageFrameTypeSequence = Sequence([item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])])
    for index, k in enumerate(order):
        frame = Dataset()
        frame.PlanePositionSequence = Sequence([item(ImagePositionPatient=slices[k].ImagePositionPatient)])
        rescale = {key: slices[k].get(key) for key in ("RescaleSlope", "RescaleIntercept")}
        frame.PixelValueTransformationSequence = Sequence([item(**rescale, RescaleType="HU")])
        frame.FrameVOILUTSequence = Sequence([item(WindowCenter="40", WindowWidth=str(400 + k))])
        frame.FrameContentSequence = Sequence([item(TemporalPositionIndex=times[index] if times else 1)])
        frames.append(frame)
    whole.SharedFunctionalGroupsSequence, whole.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(frames)
    whole.PixelData = b"".join(slices[k].PixelData for k in order)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        del whole[keyword]
    return whole


@pytest.mark.parametrize("packed", [False, True])
def test_frames_in_any_order_give_the_volume_of_single_files(ct: Make, save: Save, packed: bool) -> None:
    slices = ct(6)
    for k, dataset in enumerate(slices):
        dataset.RescaleIntercept = str(-1024 + k)
    single = open_study(save(slices, "single")).volumes[0]
    whole = enhanced(slices, [3, 0, 5, 1, 4, 2])
    if packed:
        whole.compress(RLELossless)
    study = open_study(save([whole], "whole"))
    np.testing.assert_array_equal(study.volumes[0].array, single.array)
    np.testing.assert_allclose(study.volumes[0].grid.affine, single.grid.affine)
    assert study.notices == ()
    assert study.volumes[0].window == (403, 40)  # of the slice in the middle
    assert study.volumes[0].unit == "HU"


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")
def test_an_object_by_highdicom_reads_as_its_source(patient_zip: Path, tmp_path: Path) -> None:
    from highdicom.legacy import LegacyConvertedEnhancedCTImage

    with zipfile.ZipFile(patient_zip) as archive:
        slices = [pydicom.dcmread(io.BytesIO(archive.read(n))) for n in archive.namelist() if n.endswith(".dcm")][:12]
    for dataset in slices:
        dataset.AccessionNumber, dataset.StudyID, dataset.PatientName = "1", "1", "A^B"
    whole = LegacyConvertedEnhancedCTImage(slices, generate_uid(), 1, generate_uid(), 1)
    for folder, datasets in (("whole", [whole]), ("single", slices)):
        (tmp_path / folder).mkdir()
        for k, dataset in enumerate(datasets):
            dataset.save_as(tmp_path / folder / f"{k}")
    one, many = (open_study(tmp_path / folder).volumes[0] for folder in ("whole", "single"))
    np.testing.assert_array_equal(one.array, many.array)
    np.testing.assert_allclose(one.grid.affine, many.grid.affine, atol=1e-4)


def test_time_points_of_one_object_are_phases(ct: Make, save: Save) -> None:
    slices = ct(4)
    whole = enhanced([*slices, *ct(4, RescaleIntercept="-1000")], times=[1] * 4 + [2] * 4)
    folder = save([whole])
    study = open_study(folder)
    np.testing.assert_array_equal(study.volumes[0].array, open_study(save(slices, "first")).volumes[0].array)
    assert "phases told apart by TemporalPositionIdentifier" in study.notices[0].message
    later = open_study(folder, series=f"{whole.SeriesInstanceUID}#2")
    np.testing.assert_array_equal(later.volumes[0].array, study.volumes[0].array + 24)


def test_a_copy_of_an_object_is_dropped_with_all_its_frames(ct: Make, save: Save) -> None:
    whole = enhanced(ct(5))
    study = open_study(save([whole, whole]))
    assert study.volumes[0].grid.shape == (9, 7, 5)
    assert study.provenance.left_out == (("exact copy of another file", 5),)


def test_a_frame_missing_in_the_middle_is_refused(ct: Make, save: Save, refused: Callable) -> None:
    refused(MissingSlicesError, save([enhanced(ct(6), [0, 1, 3, 4, 5])]))


def test_frames_that_are_not_all_described_are_left_out(ct: Make, save: Save, refused: Callable) -> None:
    whole = enhanced(ct(5))
    del whole.PerFrameFunctionalGroupsSequence[-1]
    refused(NoImageError, save([whole]), "not all described")


def test_cine_without_places_is_left_out_and_named(ct: Make, save: Save) -> None:
    (cine,) = ct(1, NumberOfFrames=3, Modality="XA")
    cine.PixelData = cine.PixelData * 3
    inspection = inspect_path(save([cine, *ct(4)]))
    assert [(o.kind, o.files) for o in inspection.others] == [("multi-frame object", 1)]
    assert inspection.found[0].chosen
