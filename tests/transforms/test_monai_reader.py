"""The reader inside MONAI: its contract with `LoadImage`, and agreement with MONAI's readers where these are right."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, NibabelReader, PydicomReader
from monai.transforms import Compose, LoadImage, LoadImaged, Orientation, Orientationd, SaveImage, Spacingd

from medmm import open_study
from medmm.errors import GeometryError, InputError, MissingSlicesError, MultipleSeriesError
from medmm.transforms.monai_reader import StudyReader

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:monai.*")


@pytest.fixture(scope="module")
def slices(patient_zip: Path) -> list[pydicom.Dataset]:
    with zipfile.ZipFile(patient_zip) as archive:
        found = [pydicom.dcmread(io.BytesIO(archive.read(n))) for n in archive.namelist() if n.endswith(".dcm")]
    return sorted(found, key=lambda s: float(s.ImagePositionPatient[2]))[:16]


@pytest.fixture
def folder(slices: list[pydicom.Dataset], tmp_path: Path) -> Callable[..., Path]:
    def write(keep: Callable[[int], bool] = lambda _: True, name: str = "scan") -> Path:
        target = tmp_path / name
        target.mkdir()
        for k, dataset in enumerate(slices):
            if keep(k):
                dataset.save_as(target / f"{(k * 7) % 16:02d}.dcm")
        return target

    return write


def test_a_clean_series_has_the_voxels_and_the_place_that_monais_pydicom_reader_gives(folder: Callable[..., Path]) -> None:
    path = folder()
    ours = LoadImage(reader=StudyReader())(path)
    theirs = LoadImage(reader=PydicomReader())(path)
    assert isinstance(ours, MetaTensor)
    assert ours.dtype == torch.float32
    assert tuple(ours.meta["spatial_shape"]) == tuple(ours.shape)
    assert ours.meta["space"] == theirs.meta["space"]
    np.testing.assert_allclose(ours.pixdim, theirs.pixdim, atol=1e-5)
    ours, theirs = (Orientation("RAS", labels=None)(image[None]) for image in (ours, theirs))
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-3)


def test_a_nifti_image_is_what_nibabels_reader_gives(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 2.5, -30], [-0.8, 0, 0, 44], [0, 0.9, 0, 12.5], [0, 0, 0, 1]])
    data = np.random.default_rng(0).integers(-1000, 900, (6, 7, 8), dtype=np.int16)
    nibabel.save(nibabel.Nifti1Image(data, affine), tmp_path / "a.nii.gz")
    ours, theirs = (LoadImage(reader=r)(tmp_path / "a.nii.gz") for r in (StudyReader(), NibabelReader()))
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-6)


@pytest.mark.parametrize(("drop", "leaf"), [({5}, MissingSlicesError), ({5, 6}, MissingSlicesError)])
def test_a_refusal_is_never_answered_by_another_reader(folder: Callable[..., Path], drop: set[int], leaf: type[InputError]) -> None:
    path = folder(lambda k: k not in drop)
    with pytest.raises(leaf):
        LoadImage(reader=StudyReader())(path)
    assert LoadImage(reader=PydicomReader())(path).shape[-1] == 16 - len(drop)  # which is why


def test_two_series_in_one_folder_are_refused_or_named(slices: list[pydicom.Dataset], folder: Callable[..., Path]) -> None:
    path = folder()
    for k, dataset in enumerate(copy.deepcopy(slices)):
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "1.2.3", f"1.2.3.{k + 1}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(path / f"other{k}.dcm")
    with pytest.raises(MultipleSeriesError):
        LoadImage(reader=StudyReader())(path)
    assert LoadImage(reader=StudyReader(series="1.2.3"))(path).shape[-1] == 16


def test_repairs_warnings_and_inventory_travel_in_the_metadata(folder: Callable[..., Path]) -> None:
    image = LoadImage(reader=StudyReader(repair=("fill",)))(folder(lambda k: k != 5))
    assert image.shape[-1] == 16
    assert image.meta["notices"].startswith("W_REPAIRED")
    study = json.loads(image.meta["study"])
    assert study["repairs"]
    assert study["inventory"][0]["kind"] == "axial CT"
    assert (image.meta["unit"], image.meta["modality"]) == ("HU", "CT")


@pytest.mark.parametrize("reader", [StudyReader(), StudyReader, "medmm.transforms.monai_reader.StudyReader"])
def test_it_is_given_to_monai_as_an_object_a_class_or_a_name(folder: Callable[..., Path], reader: Any) -> None:
    assert LoadImage(reader=reader, ensure_channel_first=True)(folder()).shape[0] == 1


def test_several_images_on_one_grid_are_channels(folder: Callable[..., Path]) -> None:
    first, second = folder(), folder(name="again")
    image = LoadImage(reader=StudyReader(), ensure_channel_first=True)([first, second])
    assert image.shape[0] == 2
    np.testing.assert_array_equal(image[0], image[1])
    with pytest.raises(GeometryError, match="one grid"):
        LoadImage(reader=StudyReader())(sorted(first.iterdir())[:3])


def test_a_pipeline_of_dictionary_transforms_batches_and_keeps_the_place(folder: Callable[..., Path]) -> None:
    path = folder()
    steps = Compose(
        [
            LoadImaged("image", reader=StudyReader(), ensure_channel_first=True),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(4, 4, 4)),
        ]
    )
    (batch,) = DataLoader(Dataset([{"image": path}, {"image": path}], steps), batch_size=2)
    centre = np.append((np.array(batch["image"].shape[2:]) - 1) / 2, 1)
    grid = open_study(path).volumes[0].grid
    np.testing.assert_allclose((batch["image"].affine[0].numpy() @ centre)[:3], grid.centre, atol=4)
    assert batch["image"].shape[:2] == (2, 1)


def test_what_is_saved_as_nifti_reads_back_at_its_place(folder: Callable[..., Path], tmp_path: Path) -> None:
    image = LoadImage(reader=StudyReader(), ensure_channel_first=True)(folder())
    SaveImage(tmp_path, separate_folder=False, print_log=False, output_dtype=np.int16)(image)
    (saved,) = tmp_path.glob("*.nii.gz")
    back = open_study(saved).volumes[0]
    np.testing.assert_array_equal(back.array[0], image[0].numpy())
    np.testing.assert_allclose(back.grid.affine, image.affine, atol=1e-4)
