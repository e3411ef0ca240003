"""What an object is called, and whether it may be a slice: by modality, SOP class and ImageType as scanners write them."""

from __future__ import annotations

import pytest

from medmm.sources.dicom.kind import aside, is_lossy, modality_of, syntax_name
from medmm.sources.dicom.tags import Header

STORAGE = "1.2.840.10008.5.1.4.1.1."
PLAIN = "1.2.840.10008.1.2.1"


def header(syntax: str = PLAIN, **values: str) -> Header:
    image = {"Rows": b"\x10\0", "Columns": b"\x10\0"} if values.pop("image", "yes") == "yes" else {}
    return Header(image | {keyword: value.encode() for keyword, value in values.items()}, syntax)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"Modality": "SR", "SOPClassUID": STORAGE + "88.67", "image": "no"}, "dose report"),
        ({"Modality": "SR", "image": "no"}, "structured report"),
        ({"Modality": "SEG"}, "segmentation"),
        ({"Modality": "RTSTRUCT", "image": "no"}, "RT structure set"),
        ({"Modality": "RTDOSE"}, "RT dose"),
        ({"Modality": "PR", "image": "no"}, "presentation state"),
        ({"Modality": "CT", "image": "no"}, "no image"),
        ({"Modality": "CT", "ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"}, "localizer"),
        ({"Modality": "CT", "ImageType": "DERIVED\\SECONDARY\\SCREEN SAVE"}, "screen capture"),
        ({"Modality": "CT", "ImageType": "DERIVED\\SECONDARY\\OTHER\\CSA REPORT"}, "screen capture"),
        ({"Modality": "CT", "ImageType": "DERIVED\\SECONDARY\\DOSE_INFO"}, "dose report"),
        ({"Modality": "CT", "SOPClassUID": STORAGE + "7"}, "secondary capture"),
        ({"Modality": "CT", "PhotometricInterpretation": "PALETTE COLOR"}, "colour picture"),
        ({"Modality": "MR", "ImageType": "ORIGINAL\\PRIMARY\\M\\ND\\MOSAIC"}, "mosaic"),
    ],
)
def test_what_is_no_slice_is_named(values: dict[str, str], kind: str) -> None:
    found = aside(header(**values))
    assert found is not None
    assert found[0] == kind


@pytest.mark.parametrize(
    "values",
    [
        {"Modality": "CT", "ImageType": "ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM5 SPI"},
        {"Modality": "CT", "ImageType": "DERIVED\\SECONDARY\\REFORMATTED\\AVERAGE"},
        {"Modality": "CT", "SOPClassUID": STORAGE + "7", "ImagePositionPatient": "0\\0\\0"},
        {"Modality": "PT", "ImageType": "ORIGINAL\\PRIMARY"},
        {},
    ],
)
def test_slices_are_not_put_aside(values: dict[str, str]) -> None:
    assert aside(header(**values)) is None


@pytest.mark.parametrize(("storage", "modality"), [("2", "CT"), ("2.1", "CT"), ("128", "PT"), ("4", "MR"), ("999", "OT")])
def test_without_modality_the_storage_class_says_it(storage: str, modality: str) -> None:
    assert modality_of(header(SOPClassUID=STORAGE + storage)) == modality


def test_loss_is_known_from_the_encoding_or_from_earlier() -> None:
    assert is_lossy(header("1.2.840.10008.1.2.4.81"))
    assert is_lossy(header(LossyImageCompression="01"))
    assert not is_lossy(header(LossyImageCompression="00"))
    assert not is_lossy(header("1.2.840.10008.1.2.4.90"))
    assert syntax_name("1.2.840.10008.1.2.4.90") == "JPEG 2000 lossless"
    assert syntax_name("1.2.3") == "1.2.3"
