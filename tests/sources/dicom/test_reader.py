"""Oracle of geometry: the DICOM equation, position = IPP + column * spacing * row vector + row * spacing * column vector."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from medmm import open_study
from medmm.errors import (
    CorruptError,
    DuplicatePositionError,
    GeometryError,
    IrregularSpacingError,
    MedmmError,
    MissingSlicesError,
    NoImageError,
    NonFiniteError,
    NotHounsfieldError,
    TooLargeError,
    TransferSyntaxError,
    TruncatedError,
)
from medmm.sources.dicom.reader import is_dicom

S, C = np.sin(np.radians(30)), np.cos(np.radians(30))
PLANES = {
    "axial": (1, 0, 0, 0, 1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (1, 0, 0, 0, C, S),
}
Make = Callable[..., list[Dataset]]
Save = Callable[..., Path]


def stored(dataset: Dataset) -> np.ndarray:
    return np.frombuffer(dataset.PixelData, dtype="<u2").reshape(dataset.Rows, dataset.Columns)


def codes(study: object) -> list[str]:
    return [n.code for n in study.notices]


def test_axial_affine_is_the_hand_computed_one(ct: Make, save: Save) -> None:
    grid = open_study(save(ct(5))).volumes[0].grid
    by_hand = [[-0.6, 0, 0, 10], [0, -0.8, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(grid.affine, by_hand, atol=1e-12)
    assert grid.shape == (9, 7, 5)
    assert (grid.orientation, grid.plane) == ("LPS", "axial")


@pytest.mark.parametrize("plane", PLANES)
def test_a_marked_voxel_stands_where_the_dicom_equation_puts_it(ct: Make, save: Save, plane: str) -> None:
    slices = ct(6, orientation=PLANES[plane], step=3.0)
    k, row, column = 4, 2, 7
    pixels = stored(slices[k]).copy()
    pixels[row, column] = 3000
    slices[k].PixelData = pixels.tobytes()
    volume = open_study(save(slices)).volumes[0]
    index = np.argwhere(volume.array[0] == 3000 - 1024)
    along, down = np.array(PLANES[plane][:3]), np.array(PLANES[plane][3:])
    x, y, z = np.array(slices[k].ImagePositionPatient, dtype=float) + column * 0.6 * along + row * 0.8 * down
    np.testing.assert_allclose(volume.grid.affine @ [*index[0], 1], [-x, -y, z, 1], atol=1e-6)
    assert len(index) == 1
    assert volume.grid.plane == plane
    np.testing.assert_allclose(volume.grid.spacing, (0.6, 0.8, 3.0))


def test_instance_number_slice_location_thickness_and_names_are_not_believed(ct: Make, save: Save) -> None:
    slices = ct(6)
    for dataset, number in zip(slices, (4, 1, 6, 2, 5, 3), strict=True):
        dataset.InstanceNumber, dataset.SliceLocation, dataset.SliceThickness = number, str(-number), "99"
    volume = open_study(save(slices)).volumes[0]
    expected = np.stack([stored(s).T for s in slices], axis=-1).astype(int) - 1024
    np.testing.assert_array_equal(volume.array[0], expected)
    assert volume.grid.spacing[2] == pytest.approx(2.5)


def test_slices_are_ordered_along_their_own_normal_when_stacked_downwards(ct: Make, save: Save) -> None:
    slices = ct(4, step=-2.5)
    volume = open_study(save(slices)).volumes[0]
    np.testing.assert_array_equal(volume.array[0, :, :, 0].T, stored(slices[-1]).astype(int) - 1024)
    np.testing.assert_allclose(volume.grid.affine[:3, 3], [10, 20, 30 - 3 * 2.5])


def test_hounsfield_units_use_each_slices_own_slope_and_intercept(ct: Make, save: Save) -> None:
    slices = ct(4)
    rescale = [(1, -1024), (2, -1000), (0.5, -512.25), (1.5, 0)]
    for dataset, (slope, intercept) in zip(slices, rescale, strict=True):
        dataset.RescaleSlope, dataset.RescaleIntercept = str(slope), str(intercept)
    array = open_study(save(slices)).volumes[0].array
    for k, (slope, intercept) in enumerate(rescale):
        np.testing.assert_array_equal(array[0, :, :, k], stored(slices[k]).T * float(slope) + intercept)


def test_hounsfield_units_stay_int16_when_whole(ct: Make, save: Save) -> None:
    assert open_study(save(ct(3))).volumes[0].array.dtype == np.int16


def test_signed_pixels_are_read_as_signed(ct: Make, save: Save) -> None:
    slices = ct(2, PixelRepresentation=1, RescaleIntercept="0")
    pixels = np.random.default_rng(1).integers(-900, 900, size=(7, 9), dtype=np.int16)
    slices[0].PixelData = pixels.tobytes()
    np.testing.assert_array_equal(open_study(save(slices)).volumes[0].array[0, :, :, 0].T, pixels)


@pytest.mark.parametrize(
    ("width", "centre", "window"),
    [
        ("400", "40", (400.0, 40.0)),
        (["1500.0", "400"], ["-600", "40"], (1500.0, -600.0)),
        ("400", None, None),
        (None, "40", None),
        ("0", "40", None),
        ("", "", None),
    ],
)
def test_the_window_that_the_file_suggests_first_is_kept(ct: Make, save: Save, width: Any, centre: Any, window: Any) -> None:
    slices = ct(4)
    for dataset in slices:
        for keyword, value in (("WindowWidth", width), ("WindowCenter", centre)):
            if value is not None:
                setattr(dataset, keyword, value)
    assert open_study(save(slices)).volumes[0].window == window


def test_padding_becomes_air_and_is_said(ct: Make, save: Save) -> None:
    slices = ct(3)
    for dataset in slices:
        pixels = stored(dataset).copy()
        pixels[0, :] = 2500
        dataset.PixelData = pixels.tobytes()
        dataset.add_new("PixelPaddingValue", "US", 2500)
    study = open_study(save(slices))
    assert (study.volumes[0].array[0, :, 0, :] == -1024).all()
    assert codes(study) == ["W_PADDING"]
    assert "14.3%" in study.notices[0].message  # one row of seven


def test_one_slice_alone_says_that_its_thickness_is_unknown(ct: Make, save: Save) -> None:
    study = open_study(save(ct(1)))
    assert codes(study) == ["W_SINGLE_SLICE"]
    assert study.volumes[0].grid.shape == (9, 7, 1)


def test_values_of_mr_are_intensities_without_rescale(ct: Make, save: Save) -> None:
    slices = ct(3, Modality="MR")
    for dataset in slices:
        del dataset.RescaleSlope, dataset.RescaleIntercept
    volume = open_study(save(slices)).volumes[0]
    assert (volume.unit, volume.modality) == ("intensity", "MR")
    np.testing.assert_array_equal(volume.array[0, :, :, 1].T, stored(slices[1]))


@pytest.mark.parametrize("gone", [(4,), (2, 3), (1, 5, 6)])
def test_missing_slices_are_refused_with_their_number(ct: Make, save: Save, refused: Callable, gone: tuple[int, ...]) -> None:
    slices = [s for k, s in enumerate(ct(10)) if k not in gone]
    refused(MissingSlicesError, save(slices), f"{len(gone)} missing")


@pytest.mark.parametrize(
    ("shift", "leaf"),
    [
        ((0, 0, 0.9), IrregularSpacingError),
        ((3.0, 0, 0), IrregularSpacingError),  # in plane: the distances are even, the stack is not straight
        ((0, 0, 2.5), DuplicatePositionError),
        ((0, 0, 0.04), None),  # scanners round
    ],
)
def test_a_slice_off_its_place_is_refused_beyond_rounding(
    ct: Make, save: Save, refused: Callable, shift: tuple[float, ...], leaf: type[MedmmError] | None
) -> None:
    slices = ct(8)
    slices[3].ImagePositionPatient = [f"{a + b:.6g}" for a, b in zip(slices[3].ImagePositionPatient, shift, strict=True)]
    if leaf is None:
        assert open_study(save(slices)).volumes[0].grid.shape == (9, 7, 8)
    else:
        refused(leaf, save(slices))


def test_slices_all_at_one_position_are_refused(ct: Make, save: Save, refused: Callable) -> None:
    refused(DuplicatePositionError, save(ct(4, step=0.0)), "3 of 4")


def test_slice_distance_that_drifts_is_refused(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(6)
    for k, dataset in enumerate(slices):
        dataset.ImagePositionPatient = ["-10", "-20", f"{30 + 2.5 * k + 0.2 * k * k:.6g}"]
    refused(IrregularSpacingError, save(slices))


def test_gantry_tilt_is_refused(ct: Make, save: Save, refused: Callable) -> None:
    refused(GeometryError, save(ct(5, step=(0, 0.9, 2.5))), "19.8 degrees")


@pytest.mark.parametrize("step", [0.03, 25.0])
def test_unbelievable_slice_distance_is_refused(ct: Make, save: Save, refused: Callable, step: float) -> None:
    refused(GeometryError, save(ct(4, step=step)), "mm apart")


@pytest.mark.parametrize("plane", ["tilted slightly", "turned"])
def test_one_slice_of_another_orientation_is_never_stacked(ct: Make, save: Save, refused: Callable, plane: str) -> None:
    slices = ct(6)
    other = PLANES["coronal"] if plane == "turned" else (1, 0, 0, 0, np.cos(0.05), np.sin(0.05))
    slices[2].ImageOrientationPatient = [f"{v:.8g}" for v in other]
    refused(MissingSlicesError, save(slices))


def test_an_end_slice_of_another_orientation_is_left_out_and_said(ct: Make, save: Save) -> None:
    slices = ct(6)
    slices[-1].ImageOrientationPatient = list(PLANES["coronal"])
    study = open_study(save(slices))
    assert study.volumes[0].grid.shape == (9, 7, 5)
    assert codes(study) == ["W_OTHER_SERIES"]
    assert "CT series of 1 slices" in study.notices[0].message


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_a_series_without_geometry_is_refused(ct: Make, save: Save, refused: Callable, keyword: str) -> None:
    slices = ct(3)
    for dataset in slices:
        del dataset[keyword]
    refused(GeometryError, save(slices))


@pytest.mark.parametrize(
    ("keyword", "value", "leaf"),
    [
        ("PixelSpacing", "nan\\nan", CorruptError),
        ("PixelSpacing", "inf\\1", CorruptError),
        ("PixelSpacing", "0.7", CorruptError),
        ("PixelSpacing", "abc\\def", CorruptError),
        ("PixelSpacing", "0\\0", GeometryError),
        ("PixelSpacing", "-1\\-1", GeometryError),
        ("PixelSpacing", "700\\700", GeometryError),
        ("PixelSpacing", "", GeometryError),
        ("ImagePositionPatient", "1\\2", CorruptError),
        ("ImagePositionPatient", "nan\\0\\0", CorruptError),
        ("ImagePositionPatient", "1e308\\0\\-1e308", GeometryError),
        ("ImageOrientationPatient", "1e200\\0\\0\\0\\1e200\\0", GeometryError),
        ("ImageOrientationPatient", "1\\0\\0\\1\\0\\0", GeometryError),
        ("ImageOrientationPatient", "1\\0\\0\\0\\0.5\\0", GeometryError),
        ("RescaleSlope", "nan", NonFiniteError),
        ("RescaleIntercept", "inf", NonFiniteError),
        ("RescaleSlope", "0", NotHounsfieldError),
        ("RescaleSlope", "-1", NotHounsfieldError),
        ("RescaleSlope", "1e6", NotHounsfieldError),
        ("RescaleSlope", "1e300", NonFiniteError),
        ("RescaleSlope", "soft", CorruptError),
    ],
)
def test_a_broken_number_in_every_header_is_refused(
    ct: Make, save: Save, refused: Callable, set_raw: Callable, keyword: str, value: str, leaf: type[MedmmError]
) -> None:
    slices = ct(3)
    for dataset in slices:
        set_raw(dataset, keyword, value)
    refused(leaf, save(slices))


def test_a_broken_number_in_one_header_is_refused(ct: Make, save: Save, refused: Callable, set_raw: Callable) -> None:
    slices = ct(4)
    set_raw(slices[1], "RescaleSlope", "nan")
    refused(NonFiniteError, save(slices), "RescaleSlope")


def test_pixel_spacing_that_changes_within_a_series_is_refused(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(4)
    slices[2].PixelSpacing = ["0.8", "0.7"]
    refused(GeometryError, save(slices), "one PixelSpacing")


def test_ct_without_rescale_is_refused(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(3)
    del slices[1].RescaleIntercept
    refused(NotHounsfieldError, save(slices))


def test_ct_that_was_rescaled_twice_is_refused(ct: Make, save: Save, refused: Callable) -> None:
    refused(NotHounsfieldError, save(ct(3, RescaleIntercept="-2048")), "twice")


def test_slices_without_pixels_are_refused(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(3)
    del slices[0].PixelData
    refused(CorruptError, save(slices), "pixel data")


def test_pixels_that_end_early_are_refused(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(3)
    slices[2].PixelData = slices[2].PixelData[:-20]
    refused(TruncatedError, save(slices), "126 bytes")


def test_a_header_that_states_too_many_voxels_is_refused_before_decoding(ct: Make, save: Save, refused: Callable) -> None:
    refused(TooLargeError, save(ct(2, Rows=60_000, Columns=60_000)), "7,200,000,000")


@pytest.mark.parametrize("keep", [0.35, 0.95])
def test_a_file_cut_short_never_yields_a_volume_without_a_word(ct: Make, save: Save, keep: float) -> None:
    """Cut in the pixels it is refused; cut in the header it is no image any more, and its neighbours tell that it is missing."""
    folder = save(ct(5))
    middle = next(f for f in folder.iterdir() if pydicom.dcmread(f).InstanceNumber == 3)
    middle.write_bytes(middle.read_bytes()[: int(keep * middle.stat().st_size)])
    with pytest.raises((TruncatedError, MissingSlicesError, CorruptError)):
        open_study(folder)


def test_a_damaged_end_slice_is_left_out_and_said(ct: Make, save: Save) -> None:
    folder = save(ct(5))
    last = next(f for f in folder.iterdir() if pydicom.dcmread(f).InstanceNumber == 5)
    last.write_bytes(last.read_bytes()[:300])
    study = open_study(folder)
    assert study.volumes[0].grid.shape == (9, 7, 4)
    assert codes(study) == ["W_LEFT_OUT"]


def test_compressed_pixels_that_are_damaged_are_refused(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(2)
    for dataset in slices:
        dataset.compress(pydicom.uid.RLELossless)
    assert open_study(save(slices, "good")).volumes[0].grid.shape == (9, 7, 2)
    slices[0].PixelData = slices[0].PixelData[:40] + b"\x00" * (len(slices[0].PixelData) - 40)
    refused(CorruptError, save(slices, "bad"))


def test_an_encoding_that_is_not_decoded_is_refused_by_name(ct: Make, save: Save, refused: Callable) -> None:
    slices = ct(2)
    for dataset in slices:
        dataset.compress(pydicom.uid.RLELossless)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    refused(TransferSyntaxError, save(slices), "MPEG2")


def test_files_without_preamble_and_meta_are_read_as_implicit_little_endian(ct: Make, tmp_path: Path) -> None:
    for k, dataset in enumerate(ct(3)):
        del dataset.file_meta.TransferSyntaxUID
        bare = Dataset({e.tag: e for e in dataset})
        pydicom.dcmwrite(tmp_path / f"{k}", bare, implicit_vr=True, little_endian=True)
        assert (tmp_path / f"{k}").read_bytes()[128:132] != b"DICM"
    assert open_study(tmp_path).volumes[0].grid.shape == (9, 7, 3)


def test_implicit_and_explicit_files_give_the_same_volume(ct: Make, save: Save) -> None:
    slices = ct(3)
    explicit = open_study(save(slices, "explicit")).volumes[0]
    for dataset in slices:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    implicit = open_study(save(slices, "implicit")).volumes[0]
    np.testing.assert_array_equal(explicit.array, implicit.array)


def test_random_damage_to_a_slice_only_ever_gives_typed_errors(ct: Make, save: Save) -> None:
    folder = save(ct(3))
    victim, rng = sorted(folder.iterdir())[0], np.random.default_rng(11)
    content = victim.read_bytes()
    for _ in range(250):
        mutant = bytearray(content)
        for i in rng.integers(128, len(mutant), size=int(rng.integers(1, 12))):
            mutant[i] = rng.integers(256)
        victim.write_bytes(mutant)
        with suppress(MedmmError):
            open_study(folder)


@pytest.mark.parametrize("head", [b"", b"\x08\x00", b"PK\x03\x04" + bytes(200), b"GIF89a" + bytes(200), bytes(132)])
def test_other_bytes_are_not_taken_for_dicom(head: bytes) -> None:
    assert not is_dicom(head)


def test_a_shipped_patient_reads_as_pydicom_reads_it(patient_zip: Path, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(patient_zip) as archive:
        archive.extractall(tmp_path)
    slices = sorted(
        (pydicom.dcmread(f) for f in tmp_path.rglob("*") if f.is_file()), key=lambda s: float(s.ImagePositionPatient[2])
    )
    study = open_study(patient_zip)
    volume = study.volumes[0]
    assert (volume.unit, study.notices, volume.grid.shape[2]) == ("HU", (), len(slices))
    for k in (0, len(slices) // 2, len(slices) - 1):
        hu = slices[k].pixel_array * float(slices[k].RescaleSlope) + float(slices[k].RescaleIntercept)
        np.testing.assert_array_equal(volume.array[0, :, :, k].T, hu)
        x, y, z = map(float, slices[k].ImagePositionPatient)
        np.testing.assert_allclose(volume.grid.affine @ [0, 0, k, 1], [-x, -y, z, 1], atol=1e-3)


LOSSLESS = [
    "BigEndianExplicit", "DeflatedExplicitVRLittleEndian", "JPEG2000LosslessOnly", "JPEGLSLossless", "JPEGProcess14SV1",
    "JPEGProcess14", "LittleEndianExplicit", "LittleEndianImplicit", "RLELossless",
]  # fmt: skip


@pytest.mark.parametrize("name", LOSSLESS)
def test_every_lossless_encoding_of_one_slice_gives_the_same_voxels(shared_data: Path, name: str) -> None:
    folder = shared_data / "dicom" / "cornerstone3D" / "testImages"
    (file,) = folder.glob(f"CTImage.dcm_{name}TransferSyntax*")
    plain, packed = (open_study(f).volumes[0] for f in (folder / "CTImage.dcm", file))
    np.testing.assert_array_equal(plain.array, packed.array)
    np.testing.assert_array_equal(plain.grid.affine, packed.grid.affine)


@pytest.mark.parametrize("name", ["CT1", "CT2"])
def test_high_throughput_jpeg2000_gives_the_voxels_of_plain_jpeg2000(shared_data: Path, name: str) -> None:
    folder = shared_data / "dicom"
    files = folder / "openjphjs" / f"{name}_HTJ2KLossless.dcm", folder / "cornerstone3D" / "testImages" / f"{name}_J2KR"
    first, second = (open_study(f).volumes[0] for f in files)
    np.testing.assert_array_equal(first.array, second.array)


@pytest.mark.parametrize(
    ("path", "leaf", "saying"),
    [
        ("dcm_qa_ct/In/GE", IrregularSpacingError, "1.08 to 7 mm"),
        ("dicom2nifti/failing/gantrytilting", GeometryError, "gantry tilt"),
        ("cornerstone3D/testImages/no-pixel-spacing.dcm", NoImageError, "colour picture"),
        ("cornerstone3D/testImages/TestPattern_Palette.dcm", NoImageError, "colour picture"),
        ("cornerstone3D/testImages/CTImage.dcm_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm", TransferSyntaxError, ""),
    ],
)
def test_awkward_real_series_are_refused(
    shared_data: Path, refused: Callable, path: str, leaf: type[MedmmError], saying: str
) -> None:
    refused(leaf, shared_data / "dicom" / path, saying)


def test_a_real_study_tree_with_localizers_and_summaries_yields_its_one_volume(shared_data: Path) -> None:
    study = open_study(shared_data / "dicom" / "dcm_qa_ct" / "In" / "Philips")
    assert study.volumes[0].grid.shape == (512, 512, 28)
    assert {reason for reason, _ in study.provenance.left_out} >= {"localizer", "colour picture, not a slice"}


def test_a_real_jpeg2000_series_reads_as_pydicom_reads_it(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "TotalSegmentator" / "example_ct_dicom"
    slices = sorted((pydicom.dcmread(f) for f in folder.iterdir()), key=lambda s: float(s.ImagePositionPatient[2]))
    volume = open_study(folder).volumes[0]
    for k in (0, 11, 19):
        hu = slices[k].pixel_array * float(slices[k].RescaleSlope) + float(slices[k].RescaleIntercept)
        np.testing.assert_array_equal(volume.array[0, :, :, k].T, hu)
    ends = np.array([slices[k].ImagePositionPatient for k in (0, -1)], dtype=float)
    assert volume.grid.spacing[2] == pytest.approx((ends[1, 2] - ends[0, 2]) / 19)
