from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from medmm.deid.burned_in import burned_in, shows_a_head


@pytest.mark.parametrize(
    "attributes",
    [
        {"BurnedInAnnotation": "YES"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"},
        {"Modality": "US"},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "DOSE_INFO"]},
        {"SamplesPerPixel": 3},
    ],
)
def test_an_image_that_may_show_text_is_told(slice_of: Callable[..., Dataset], attributes: dict[str, Any]) -> None:
    assert burned_in(slice_of(**attributes))


def test_an_overlay_inside_the_pixels_is_told(slice_of: Callable[..., Dataset]) -> None:
    dataset = slice_of()
    dataset.add_new(0x60000102, "US", 0)
    assert not burned_in(dataset)
    dataset.add_new(0x60000102, "US", 12)
    assert burned_in(dataset) == "overlay inside the pixel values"


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"BurnedInAnnotation": "NO"},
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
        {"ImageType": "ORIGINAL"},
        {"Modality": "MR"},
    ],
)
def test_slices_are_not(slice_of: Callable[..., Dataset], attributes: dict[str, Any]) -> None:
    assert not burned_in(slice_of(**attributes))


def test_real_ones(shared_data: Path) -> None:
    dicom = shared_data / "dicom"
    for shown in ("deid-data/ultrasounds/GREYSCALE_IMAGE.dcm", "deid-data/ultrasounds/RGB_IMAGE.dcm"):
        assert burned_in(pydicom.dcmread(dicom / shown, stop_before_pixels=True))
    assert not burned_in(pydicom.dcmread(dicom / "dcm_qa_ct/In/GE/01.dcm", stop_before_pixels=True))


def test_heads_are_told(slice_of: Callable[..., Dataset]) -> None:
    assert shows_a_head(slice_of(BodyPartExamined="HEAD"))
    assert shows_a_head(slice_of(StudyDescription="CT brain without contrast"))
    assert not shows_a_head(slice_of(BodyPartExamined="CHEST"))
    assert not shows_a_head(slice_of(Modality="SR", BodyPartExamined="HEAD"))
