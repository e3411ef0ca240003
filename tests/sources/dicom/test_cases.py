"""Every awkward folder made from one real CT: it loads right, as SimpleITK reads the untouched series, or is refused by name.

One row a case of docs/reading.md. The oracle never sees an awkward folder: a case that loads must give the
voxels and the affine of the clean series (or of the stated slices of it).
"""

from __future__ import annotations

import copy
import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless, generate_uid

from medmm import open_study
from medmm.errors import (
    CorruptError,
    DuplicatePositionError,
    GeometryError,
    InputError,
    IrregularSpacingError,
    MissingSlicesError,
    MultipleSeriesError,
    NotHounsfieldError,
    TruncatedError,
)
from medmm.geometry import lps_to_ras
from medmm.study import Study

Slices = list[Dataset]
Edit = Callable[[Slices], Slices | None]
COUNT = 20


@pytest.fixture(scope="module")
def real(patient_zip: Path) -> Slices:
    """Twenty neighbouring slices of a real patient, in spatial order."""
    with zipfile.ZipFile(patient_zip) as archive:
        slices = [pydicom.dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist() if name.endswith(".dcm")]
    return sorted(slices, key=lambda s: float(s.ImagePositionPatient[2]))[10 : 10 + COUNT]


@pytest.fixture(scope="module")
def truth(real: Slices, tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (I, J, K) and RAS affine of the clean series by SimpleITK."""
    import SimpleITK

    folder = write(real, tmp_path_factory.mktemp("clean"))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), lps_to_ras(lps)


def write(slices: Slices, folder: Path) -> Path:
    names = [f"SECRET{i:03d}" for i in range(len(slices))]
    random.Random(3).shuffle(names)
    for name, dataset in zip(names, slices, strict=True):
        pydicom.dcmwrite(folder / name, dataset, enforce_file_format=True)
    return folder


def copied(slices: Slices, **tags: Any) -> Slices:
    """Copies under new SOPInstanceUIDs, with other elements."""
    twins = copy.deepcopy(slices)
    for twin in twins:
        twin.SOPInstanceUID = twin.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix="1.2.826.0.1.")
        for keyword, value in tags.items():
            setattr(twin, keyword, value)
    return twins


def edited(edit: Callable[[Dataset, int], object]) -> Edit:
    """An edit of every slice, given its index."""

    def apply(slices: Slices) -> None:
        for k, dataset in enumerate(slices):
            edit(dataset, k)

    return apply


def sixth(edit: Callable[[Dataset], object]) -> Edit:
    """An edit of one slice in the middle."""
    return edited(lambda dataset, k: edit(dataset) if k == 5 else None)


def put(**tags: Any) -> Callable[[Dataset, int], None]:
    def set_all(dataset: Dataset, _: int) -> None:
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)

    return set_all


def raised(dataset: Dataset, by: float) -> None:
    x, y, z = map(float, dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y, round(z + by, 6)]


def blank(*keywords: str) -> Callable[[Dataset, int], None]:
    def erase(dataset: Dataset, _: int) -> None:
        for keyword in keywords:
            if keyword in dataset:
                del dataset[keyword]

    return erase


def restored(stored: np.ndarray, dataset: Dataset, dtype: str) -> None:
    dataset.PixelData = stored.astype(dtype).tobytes()
    dataset.PixelRepresentation = int(dtype[1] == "i")
    for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue"):
        if keyword in dataset:
            del dataset[keyword]


def hu(dataset: Dataset) -> np.ndarray:
    return np.frombuffer(dataset.PixelData, "<i2").reshape(dataset.Rows, dataset.Columns).astype(int)


def localizer(matrix: int | None) -> Edit:
    def add(slices: Slices) -> Slices:
        (scout,) = copied(slices[:1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
        if matrix:
            scout.Rows = scout.Columns = matrix
            scout.PixelData = bytes(2 * matrix * matrix)
        return [*slices, scout]

    return add


def unflagged_localizer(slices: Slices) -> Slices:
    return [*slices, *copied(slices[:1], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])]


def unsigned_with(offset: int, **tags: Any) -> Callable[[Dataset, int], None]:
    def store(dataset: Dataset, _: int) -> None:
        restored(hu(dataset) + offset, dataset, "<u2")
        dataset.RescaleIntercept = str(-offset)
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)

    return store


def twelve_bits_with_overlay(dataset: Dataset, _: int) -> None:
    stored = np.clip(hu(dataset) + 1024, 0, 4095)
    stored[::7, ::5] |= 0x1000
    restored(stored, dataset, "<u2")
    dataset.RescaleIntercept, dataset.BitsStored, dataset.HighBit = "-1024", 12, 11


def packed_every_second(dataset: Dataset, k: int) -> None:
    if k % 2:
        dataset.compress(RLELossless, encoding_plugin="pydicom")


def per_slice_slope(dataset: Dataset, k: int) -> None:
    slope = 1 + k % 3
    restored(np.rint(hu(dataset) / slope), dataset, "<i2")
    dataset.RescaleSlope = str(slope)


LOADS: dict[str, tuple[Edit, set[str]]] = {
    "clean": (lambda s: None, set()),
    "frame of reference varies": (edited(lambda d, k: setattr(d, "FrameOfReferenceUID", f"1.2.{k + 1}")), set()),
    "exact copy of a file": (lambda s: [*s, copy.deepcopy(s[3])], {"W_LEFT_OUT"}),
    "same object exported again": (lambda s: [*s, altered(s[3], SeriesDescription="again")], {"W_LEFT_OUT"}),
    "localizer of another matrix": (localizer(64), {"W_LEFT_OUT"}),
    "localizer of the same matrix": (localizer(None), {"W_LEFT_OUT"}),
    "localizer without the word": (unflagged_localizer, {"W_OTHER_SERIES"}),
    "another series of fewer slices": (lambda s: [*s, *copied(s[:9], SeriesInstanceUID="1.2.3")], {"W_OTHER_SERIES"}),
    "shuffled InstanceNumber": (edited(lambda d, k: setattr(d, "InstanceNumber", (7 * k) % COUNT)), set()),
    "no InstanceNumber": (edited(blank("InstanceNumber")), set()),
    "constant InstanceNumber": (edited(put(InstanceNumber=1)), set()),
    "falling InstanceNumber": (edited(lambda d, k: setattr(d, "InstanceNumber", COUNT - k)), set()),
    "orientation jitter": (edited(lambda d, k: setattr(d, "ImageOrientationPatient", [1, 1e-5 * (k % 2), 0, 0, 1, 0])), set()),
    "no SOPClassUID": (edited(blank("SOPClassUID")), set()),
    "no Modality": (edited(blank("Modality")), set()),
    "no RescaleType": (edited(blank("RescaleType")), set()),
    "RescaleType HU": (edited(put(RescaleType="HU")), set()),
    "RescaleType hu": (edited(put(RescaleType="hu")), set()),
    "RescaleType in words": (edited(put(RescaleType="Hounsfield  Units ")), set()),
    "RescaleType of GE's reformats": (edited(put(RescaleType="Houndsfield Unit")), set()),
    "RescaleType unspecified": (edited(put(RescaleType="US")), {"W_ASSUMED_HU"}),
    "RescaleType unspecified in words": (edited(put(RescaleType="Unspecified")), {"W_ASSUMED_HU"}),
    "MONOCHROME1 keeps HU": (edited(put(PhotometricInterpretation="MONOCHROME1")), set()),
    "unsigned with intercept": (edited(unsigned_with(1024)), set()),
    "intercept beyond int16": (edited(unsigned_with(32768)), set()),
    "acquisition number a slice": (edited(lambda d, k: setattr(d, "AcquisitionNumber", k)), set()),
    "every encoding mixed": (edited(packed_every_second), set()),
    "feet first, decubitus": (edited(put(PatientPosition="FFDR")), set()),
    "slice thickness lies": (edited(put(SliceThickness="99", SpacingBetweenSlices="-3")), set()),
}

PHASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "temporal position": ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}),
    "acquisition number": ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
    "image type": ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "REFORMATTED"]}),
    "kernel": ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}),
    "acquisition time": ({"AcquisitionTime": "101500"}, {"AcquisitionTime": "101612.5"}),
}


def altered(dataset: Dataset, **tags: Any) -> Dataset:
    twin = copy.deepcopy(dataset)
    for keyword, value in tags.items():
        setattr(twin, keyword, value)
    return twin


def without_geometry(s: Slices) -> Slices:
    edited(blank("ImagePositionPatient", "ImageOrientationPatient"))(s)
    return s


def spaced(s: Slices, every: int) -> Slices:
    for d in s[::every] if every > 1 else s[: COUNT // 2]:
        d.PixelSpacing = ["0.7", "0.7"]
    return s


def rescanned(s: Slices) -> Slices:
    """The last third with a wider field about the same middle, so that its corner moves too."""
    for d in s[13:]:
        x, y, z = map(float, d.ImagePositionPatient)
        wider = 0.2 * float(d.PixelSpacing[0])
        d.ImagePositionPatient = [round(x - wider * 75, 4), round(y - wider * 77, 4), z]
        d.PixelSpacing = [round(float(d.PixelSpacing[0]) + wider, 6)] * 2
    return s


def smaller(s: Slices) -> Slices:
    for d in s[: COUNT // 2]:
        d.PixelData = hu(d)[:100, :100].astype("<i2").tobytes()
        d.Rows = d.Columns = 100
    return s


def tilted(s: Slices, degrees: float = 16.5) -> Slices:
    step = float(s[1].ImagePositionPatient[2]) - float(s[0].ImagePositionPatient[2])
    for k, d in enumerate(s):
        x, y, z = map(float, d.ImagePositionPatient)
        d.ImagePositionPatient = [x, round(y + k * step * np.tan(np.radians(degrees)), 6), z]
    return s


def bone_overflows_twelve_bits(d: Dataset, _: int) -> None:
    stored = hu(d)
    stored[:20, :20] = 3000
    restored(stored, d, "<i2")
    d.BitsStored, d.HighBit = 12, 11


REFUSED: dict[str, tuple[Edit, type[InputError]]] = {
    "two series of one shape": (lambda s: [*s, *copied(s, SeriesInstanceUID="1.2.3")], MultipleSeriesError),
    "one slice missing": (lambda s: s[:7] + s[8:], MissingSlicesError),
    "two in a row missing": (lambda s: s[:7] + s[9:], MissingSlicesError),
    "same place, other object": (lambda s: [*s, *copied(s[4:5])], DuplicatePositionError),
    "all at one place": (edited(lambda d, k: setattr(d, "ImagePositionPatient", [0, 0, 0])), DuplicatePositionError),
    "all at one place, each its own time": (
        edited(lambda d, k: (setattr(d, "ImagePositionPatient", [0, 0, 0]), setattr(d, "AcquisitionTime", f"1015{k:02d}"))),
        DuplicatePositionError,
    ),
    "two phases that nothing tells apart": (lambda s: [*s, *copied(s)], DuplicatePositionError),
    "spacing jitter": (edited(lambda d, k: raised(d, 0.9 * (k % 2))), IrregularSpacingError),
    "tilted gantry": (tilted, GeometryError),
    "half with another PixelSpacing": (lambda s: spaced(s, 1), GeometryError),
    "every second with another PixelSpacing": (lambda s: spaced(s, 2), GeometryError),
    "a third with a wider field": (rescanned, GeometryError),
    "half with another matrix": (smaller, GeometryError),
    "no geometry": (without_geometry, GeometryError),
    "no rescale": (edited(blank("RescaleSlope", "RescaleIntercept")), NotHounsfieldError),
    **{
        f"rescale in another unit, {term}": (edited(put(RescaleType=term)), NotHounsfieldError)
        for term in ("OD", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT", "HUX")
    },
    "rescaled twice": (edited(put(RescaleIntercept="-1024")), NotHounsfieldError),
    "pixels cut short": (sixth(lambda d: setattr(d, "PixelData", d.PixelData[:-500])), TruncatedError),
    "numbers longer than BitsStored": (edited(bone_overflows_twelve_bits), CorruptError),
    "a slice turned": (sixth(lambda d: setattr(d, "ImageOrientationPatient", [0, 1, 0, 1, 0, 0])), MissingSlicesError),
}


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")
@pytest.mark.parametrize("case", LOADS)
def test_loads_right(case: str, real: Slices, truth: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    edit, codes = LOADS[case]
    study = opened(edit, real, tmp_path)
    np.testing.assert_array_equal(study.volumes[0].array[0], truth[0])
    np.testing.assert_allclose(study.volumes[0].grid.affine, truth[1], atol=1e-3)
    assert {n.code for n in study.notices} == codes
    assert study.volumes[0].unit == "HU"


@pytest.mark.parametrize("case", PHASES)
def test_the_first_of_two_phases_is_read_and_the_other_named(
    case: str, real: Slices, truth: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    first, second = PHASES[case]
    late = copied(real, **second)
    for dataset in late:
        restored(hu(dataset) + 100, dataset, "<i2")
    folder = write([*copied(real, **first), *late], tmp_path)
    study = open_study(folder)
    np.testing.assert_array_equal(study.volumes[0].array[0], truth[0])
    assert [n.code for n in study.notices] == ["W_OTHER_SERIES"]
    assert f"Read the CT series of {COUNT} slices, 150 x 155, part 1 of 2 (phases told apart by " in study.notices[0].message
    other = open_study(folder, series=f"{real[0].SeriesInstanceUID}#2")
    np.testing.assert_array_equal(other.volumes[0].array[0], truth[0] + 100)


def test_phases_without_any_mark_are_told_apart_by_their_order(
    real: Slices, truth: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    late = copied(real)
    for k, dataset in enumerate(late):
        dataset.InstanceNumber = 1000 + k
    study = open_study(write([*real, *late], tmp_path))
    np.testing.assert_array_equal(study.volumes[0].array[0], truth[0])
    assert "told apart by order of InstanceNumber" in study.notices[0].message


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")
@pytest.mark.parametrize("case", REFUSED)
def test_is_refused_by_name(case: str, real: Slices, tmp_path: Path) -> None:
    edit, leaf = REFUSED[case]
    with pytest.raises(InputError) as caught:
        opened(edit, real, tmp_path)
    assert type(caught.value) is leaf, caught.value.message
    assert "SECRET" not in caught.value.message


def test_slope_of_each_slice_is_its_own(real: Slices, tmp_path: Path) -> None:
    study = opened(edited(per_slice_slope), real, tmp_path)
    for k, dataset in enumerate(real):
        slope = 1 + k % 3
        np.testing.assert_array_equal(study.volumes[0].array[0, :, :, k].T, np.rint(hu(dataset) / slope) * slope)


@pytest.mark.parametrize("declared", [True, False])
def test_overlay_bits_are_masked_and_said_unless_declared(declared: bool, real: Slices, tmp_path: Path) -> None:
    def edit(dataset: Dataset, k: int) -> None:
        twelve_bits_with_overlay(dataset, k)
        if declared:
            dataset.add_new(0x60000102, "US", 12)

    study = opened(edited(edit), real, tmp_path)
    expected = np.stack([np.clip(hu(d) + 1024, 0, 4095).T - 1024 for d in real], axis=-1)
    np.testing.assert_array_equal(study.volumes[0].array[0], expected)
    assert [n.code for n in study.notices] == ([] if declared else ["W_HIGH_BITS"])


@pytest.mark.parametrize("representation", ["SS", "US"])
def test_padding_of_each_slice_becomes_air_before_rescale(representation: str, real: Slices, tmp_path: Path) -> None:
    def edit(dataset: Dataset, k: int) -> None:
        stored, pad = hu(dataset), -2000 - k % 3
        stored[:10] = pad
        restored(stored, dataset, "<i2")
        dataset.add_new("PixelPaddingValue", representation, pad & 0xFFFF if representation == "US" else pad)

    study = opened(edited(edit), real, tmp_path)
    assert (study.volumes[0].array[0, :, :10] == -1024).all()
    assert [n.code for n in study.notices] == ["W_PADDING"]
    np.testing.assert_array_equal(study.volumes[0].array[0, :, 10:, 4].T, hu(real[4])[10:])


def test_a_derived_reformat_in_the_same_series_is_another_part(
    real: Slices, truth: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    coronal = copied(real[:12], ImageType=["DERIVED", "SECONDARY", "MPR"], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    for k, dataset in enumerate(coronal):
        dataset.ImagePositionPatient = [0, 3 * k, 0]
    study = open_study(write([*real, *coronal], tmp_path))
    np.testing.assert_array_equal(study.volumes[0].array[0], truth[0])
    kinds = [(entry["kind"], entry["read"]) for entry in study.provenance.inventory]
    assert kinds == [("axial CT", True), ("derived coronal CT", False)]


@pytest.mark.parametrize("how", ["zip", "names", "nested", "no extension"])
def test_neither_names_nor_folders_nor_packing_change_a_voxel(
    how: str, real: Slices, truth: tuple[np.ndarray, np.ndarray], tmp_path: Path, zipped: Callable[[Path], Path]
) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    write(real, folder)
    if how == "nested":
        for k, file in enumerate(sorted(folder.iterdir())):
            deeper = folder / f"a/b/c/d/{k % 3}"
            deeper.mkdir(parents=True, exist_ok=True)
            file.rename(deeper / f"{k}")
    elif how == "names":
        for k, file in enumerate(sorted(folder.iterdir())):
            file.rename(folder / f"Schädel ø {k}.IMA")
    study = open_study(zipped(folder) if how == "zip" else folder)
    np.testing.assert_array_equal(study.volumes[0].array[0], truth[0])
    np.testing.assert_allclose(study.volumes[0].grid.affine, truth[1], atol=1e-3)


def opened(edit: Edit, real: Slices, folder: Path) -> Study:
    slices = copy.deepcopy(real)
    return open_study(write(edit(slices) or slices, folder))


def test_pet_is_in_its_own_unit_with_the_slope_of_each_slice(real: Slices, tmp_path: Path) -> None:
    def edit(dataset: Dataset, k: int) -> None:
        restored(np.abs(hu(dataset)), dataset, "<u2")
        dataset.Modality, dataset.Units, dataset.RescaleIntercept = "PT", "BQML", "0"
        dataset.RescaleSlope = str(round(1.7 + 0.3 * k, 4))

    volume = opened(edited(edit), real, tmp_path).volumes[0]
    assert (volume.unit, volume.modality, volume.array.dtype) == ("BQML", "PT", np.float32)
    for k in (0, 11):
        np.testing.assert_allclose(volume.array[0, :, :, k].T, np.abs(hu(real[k])) * round(1.7 + 0.3 * k, 4), rtol=1e-6)


def test_a_constant_blurred_by_lossy_compression_is_no_second_rescale(real: Slices, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def edit(dataset: Dataset, _: int) -> None:
        values = hu(dataset)
        values[:30] = -2000 + rng.integers(-30, 30, values[:30].shape)
        restored(values, dataset, "<i2")
        dataset.LossyImageCompression = "01"

    assert [n.code for n in opened(edited(edit), real, tmp_path).notices] == ["W_LOSSY"]
    twice = tmp_path / "twice"
    twice.mkdir()
    with pytest.raises(NotHounsfieldError, match="twice"):
        opened(edited(lambda d, k: (edit(d, k), setattr(d, "RescaleIntercept", "-1024"))), real, twice)


def test_a_radiograph_is_one_slice_without_a_place(real: Slices, tmp_path: Path) -> None:
    (picture,) = copied(real[:1], Modality="DX", ImagerPixelSpacing=["0.2", "0.2"], SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1")
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        del picture[keyword]
    study = open_study(write([picture], tmp_path))
    assert study.volumes[0].grid.spacing == pytest.approx((0.2, 0.2, 1.0))
    assert (study.volumes[0].unit, study.volumes[0].modality) == ("intensity", "DX")
    assert {n.code for n in study.notices} == {"W_NO_SCALE", "W_SINGLE_SLICE"}


@pytest.mark.filterwarnings("ignore")
def test_signed_jpeg2000_in_an_unsigned_header_reads_as_pydicom_corrects_it(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    source = get_testdata_file("J2K_pixelrep_mismatch.dcm", download=False)
    if source is None:
        pytest.skip("pydicom does not bring this file")
    dataset = pydicom.dcmread(source)
    values = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    read = open_study(source).volumes[0].array[0, :, :, 0].T
    inside = values > -1024
    np.testing.assert_array_equal(read[inside], values[inside])
