"""`open_study` as a whole: what it takes for what, and what it says beside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import soundfile
from PIL import Image
from pydicom.dataset import Dataset

import medmm
from medmm.errors import MultipleSeriesError, NoImageError, TextError
from medmm.study import Note, Study

Make = Callable[..., list[Dataset]]
Save = Callable[..., Path]


def picture(path: Path) -> None:
    Image.new("L", (4, 4)).save(path, format="PNG")


def nifti(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), path)


def test_a_note_alone_is_a_study() -> None:
    study = medmm.open_study(None, note="Cough for 3 weeks.")
    assert study.modalities == {"text"}
    assert study.volumes == ()
    assert study.note.text == "Cough for 3 weeks."


def test_nothing_is_an_empty_study() -> None:
    assert medmm.open_study(None) == Study()
    assert medmm.open_study(None).modalities == frozenset()


@pytest.mark.parametrize(("note", "modalities"), [("Cough.", {"image", "text"}), ("  \n", {"image"}), (None, {"image"})])
def test_image_and_note_go_together_and_an_empty_note_is_missing(
    ct: Make, save: Save, note: str | None, modalities: set[str]
) -> None:
    assert medmm.open_study(save(ct(3)), note=note).modalities == modalities


def test_one_file_of_a_series_is_read_alone(ct: Make, save: Save) -> None:
    file = next(save(ct(3)).iterdir())
    assert [n.code for n in medmm.open_study(file).notices] == ["W_SINGLE_SLICE"]


def test_content_decides_the_format_not_the_name(tmp_path: Path) -> None:
    picture(tmp_path / "scan.dcm")
    assert medmm.open_study(tmp_path / "scan.dcm").provenance.source == "picture"


def test_dicom_comes_before_other_kinds_and_the_rest_is_said(ct: Make, save: Save) -> None:
    folder = save(ct(3))
    picture(folder / "key.png")
    nifti(folder / "seg.nii")
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / "report.pdf").write_bytes(b"%PDF")
    study = medmm.open_study(folder)
    assert study.provenance.source == "dicom"
    assert [(n.code, n.message[:7]) for n in study.notices] == [("W_OTHER_FILES", "4 files")]
    assert study.provenance.left_out == (("file of another kind", 4),)


@pytest.mark.parametrize(("maker", "what"), [(picture, "2 pictures"), (nifti, "2 NIfTI images")])
def test_several_pictures_or_niftis_are_refused(tmp_path: Path, refused: Callable, maker: Callable, what: str) -> None:
    for name in ("SECRET_a.nii", "SECRET_b.nii"):
        maker(tmp_path / name)
    refused(MultipleSeriesError, tmp_path, what)


def test_unknown_files_are_refused_and_counted(tmp_path: Path, refused: Callable) -> None:
    for name in ("SECRET.nrrd", "SECRET.mhd"):
        (tmp_path / name).write_bytes(b"NRRD0004\ndata file: /etc/hostname\n")
    refused(NoImageError, tmp_path, "none of the 2 files")


def test_a_note_that_is_too_long_is_cut_and_said_so_and_one_far_too_long_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    study = medmm.open_study(tmp_path / "a.png", note="x" * 32_769)
    assert study.note is not None
    assert len(study.note.text) == 32_768
    assert [n.code for n in study.notices] == ["W_NO_SCALE", "W_NOTE_LONG"]
    with pytest.raises(TextError, match="1,048,576"):
        medmm.open_study(tmp_path / "a.png", note="x" * ((1 << 20) + 1))


def test_a_recording_and_a_finished_note_can_be_handed_in(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(800), 16_000)
    study = medmm.open_study(None, Note("Cough."), audio=tmp_path / "a.flac")
    assert (study.note, study.recording is not None) == (Note("Cough."), True)
    assert study.modalities == {"audio", "text"}


def test_paths_may_be_strings(ct: Make, save: Save) -> None:
    assert medmm.open_study(str(save(ct(2)))).modalities == {"image"}
