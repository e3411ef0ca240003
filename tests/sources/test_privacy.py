from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medmm import open_study
from medmm.deid.dataset import Deidentifier, Policy
from medmm.deid.pseudonym import Pseudonyms
from medmm.errors import CorruptError, NoImageError, PhiError, StoreError
from medmm.sources.privacy import check_phi, deidentify

Make = Callable[..., list[Dataset]]
Save = Callable[..., Path]


def _all_bytes(folder: Path) -> bytes:
    return b"".join(f.read_bytes() for f in folder.rglob("*") if f.is_file()) + "".join(map(str, folder.rglob("*"))).encode()


@pytest.mark.parametrize("form", ["folder", "zip", "file"])
def test_what_is_written_is_the_same_volume_without_its_patient(
    ct: Make, save: Save, zipped: Callable[[Path], Path], tmp_path: Path, form: str
) -> None:
    folder = save(ct(1 if form == "file" else 4, StudyInstanceUID="1.2.826.0.1.9"))
    path = {"folder": folder, "zip": zipped(folder), "file": next(folder.iterdir())}[form]
    out = tmp_path / "out"
    done = deidentify(path, out, Deidentifier())
    assert done.written == len(list(out.rglob("*.dcm"))) == len(list(folder.iterdir()))
    before, after = open_study(path).volumes[0], open_study(out).volumes[0]
    np.testing.assert_array_equal(after.array, before.array)
    np.testing.assert_array_equal(after.grid.affine, before.grid.affine)
    content = _all_bytes(out).replace(str(tmp_path).encode(), b"")
    assert b"SECRET" not in content
    assert b"1.2.826.0.1." not in content
    assert check_phi(out) == ()


def test_names_are_numbers_by_study_and_series(ct: Make, save: Save, tmp_path: Path) -> None:
    folder = save([*ct(2, StudyInstanceUID="1.2.1"), *ct(2, StudyInstanceUID="1.2.1"), *ct(1, StudyInstanceUID="1.2.2")])
    deidentify(folder, tmp_path / "out", Deidentifier())
    names = [str(f.relative_to(tmp_path / "out").parent) for f in (tmp_path / "out").rglob("*.dcm")]
    assert sorted({(n, names.count(n)) for n in names}) == [
        ("study001/series001", 2), ("study001/series002", 2), ("study002/series001", 1),
    ] or sorted(names.count(n) for n in set(names)) == [1, 2, 2]  # fmt: skip


def test_two_runs_under_one_key_agree_byte_for_byte(ct: Make, save: Save, tmp_path: Path) -> None:
    folder = save(ct(3))
    for name in ("one", "two"):
        deidentify(folder, tmp_path / name, Deidentifier(Pseudonyms(b"k" * 16)))
    contents = [{f.relative_to(tmp_path / n): f.read_bytes() for f in (tmp_path / n).rglob("*.dcm")} for n in ("one", "two")]
    assert contents[0] == contents[1]


def test_what_is_not_dicom_is_left_out_and_what_may_show_text_is_refused_and_both_are_counted(
    ct: Make, save: Save, tmp_path: Path
) -> None:
    screen = ct(1, ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])
    folder = save([*ct(3, BodyPartExamined="HEAD"), *screen])
    (folder / "notes.txt").write_text("SECRET")
    (folder / "damaged.dcm").write_bytes(bytes(128) + b"DICM\2\0\x10\0UI\xff\xff")
    done = deidentify(folder, tmp_path / "out", Deidentifier())
    assert (done.written, done.heads, done.left_out) == (3, 3, (("not DICOM", 1),))
    assert sorted((code, count) for code, _, count in done.refused) == [("E_CORRUPT", 1), ("E_PHI", 1)]
    assert not (tmp_path / "out/notes.txt").exists()
    allowed = deidentify(folder, tmp_path / "all", Deidentifier(policy=Policy(allow_burned_in=True)))
    assert allowed.written == 4


def test_when_nothing_can_be_written_nothing_is(ct: Make, save: Save, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(PhiError, match="may show some"):
        deidentify(save(ct(2, BurnedInAnnotation="YES")), out, Deidentifier())
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.txt").write_text("SECRET")
    with pytest.raises(NoImageError, match="none of the 1 files"):
        deidentify(tmp_path / "text", out, Deidentifier())
    (tmp_path / "bad.dcm").write_bytes(bytes(128) + b"DICM\2\0\x10\0UI\xff\xff")
    with pytest.raises(CorruptError):
        deidentify(tmp_path / "bad.dcm", out, Deidentifier())
    assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == []


def test_a_dicomdir_is_never_written(ct: Make, save: Save, tmp_path: Path) -> None:
    folder = save(ct(1))
    directory = Path(pydicom.__file__).parent / "data/test_files/dicomdirtests/DICOMDIR"
    (folder / "renamed").write_bytes(directory.read_bytes())
    done = deidentify(folder, tmp_path / "out", Deidentifier())
    assert (done.written, done.left_out) == (1, (("DICOMDIR, a list of names", 1),))
    with pytest.raises(NoImageError, match="only a DICOMDIR"):
        deidentify(folder / "renamed", tmp_path / "none", Deidentifier())


def test_a_full_folder_is_never_written_into(ct: Make, save: Save, tmp_path: Path) -> None:
    folder = save(ct(1))
    with pytest.raises(StoreError, match="new or empty folder"):
        deidentify(folder, folder, Deidentifier())
    assert [f.name for f in folder.iterdir()] == ["SECRET000.dcm"]


def test_the_note_is_scrubbed_of_what_the_headers_say(ct: Make, save: Save, tmp_path: Path) -> None:
    done = deidentify(save(ct(1)), tmp_path / "out", Deidentifier(), note="Secret (SECRET-17), image 30/116, seen 3 May 2019.")
    assert (tmp_path / "out/note.txt").read_text() == "[NAME] ([ID]), image 30/116, seen [DATE]."
    assert done.note == (("date", 1), ("id", 1), ("name", 1))


def test_findings_of_a_path_count_files_and_those_of_its_note_know_its_headers(ct: Make, save: Save) -> None:
    found = check_phi(save(ct(3)), "Nodule in Secret, image 30/116.")
    assert [(f.kind, f.where, f.count) for f in found] == [
        ("name", "note", 1), ("patient name", "PatientName", 3), ("patient number", "PatientID", 3),
    ]  # fmt: skip
    assert check_phi(note="Seen by Dr. Brown.")[0].kind == "name"
    assert check_phi() == ()


def test_a_damaged_header_cannot_be_checked(tmp_path: Path) -> None:
    (tmp_path / "bad.dcm").write_bytes(bytes(128) + b"DICM\2\0\x10\0UI\xff\xff")
    with pytest.raises(CorruptError, match="one is damaged"):
        check_phi(tmp_path / "bad.dcm")


def test_a_header_that_breaks_only_when_looked_into_is_damaged(ct: Make, save: Save) -> None:
    (slice_,) = ct(1)
    slice_[0x00280002] = pydicom.dataelem.DataElement(0x00280002, "LO", "SECRET")  # SamplesPerPixel, in letters
    with pytest.raises(CorruptError) as caught:
        check_phi(save([slice_]))
    assert "SECRET" not in caught.value.message


def test_real_patients_of_the_examples_are_deidentified(patient_zip: Path, tmp_path: Path) -> None:
    assert check_phi(patient_zip) == ()
    done = deidentify(patient_zip, tmp_path / "out", Deidentifier())
    assert done.refused == ()
    np.testing.assert_array_equal(open_study(tmp_path / "out").volumes[0].array, open_study(patient_zip).volumes[0].array)
