from __future__ import annotations

import io
import os
import shutil
import subprocess
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, initialize_actions
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from medmm.deid.dataset import Deidentifier, Policy, to_bytes
from medmm.deid.profile import profile
from medmm.deid.pseudonym import Pseudonyms
from medmm.errors import PhiError

KEY = b"0123456789abcdef"
Clean = Callable[..., Dataset]
NAMED = [tag for tag in profile() if keyword_for_tag(tag) and tag >> 16 > 2 and dictionary_VR(tag) != "US"]  # which holds no token
TOKEN = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=9, max_size=12)


def test_none_of_93_planted_identifiers_is_left(planted: Any) -> None:
    assert all(token.encode() in planted.content for token in planted.tokens)
    dataset = pydicom.dcmread(io.BytesIO(planted.content))
    Deidentifier()(dataset)
    content = to_bytes(dataset)
    assert [token for token in planted.tokens if token.encode() in content] == []
    assert bytes(128) == content[:128]
    assert (
        pydicom.dcmread(io.BytesIO(content)).pixel_array.tolist()
        == pydicom.dcmread(io.BytesIO(planted.content)).pixel_array.tolist()
    )


def test_the_options_let_through_only_what_they_name(planted: Any, cleaned: Clean) -> None:
    policy = Policy(dates="shift", keep_patient=True)
    content = to_bytes(cleaned(planted.content, Deidentifier(Pseudonyms(KEY), policy)))
    ethnic_group = str(pydicom.dcmread(io.BytesIO(planted.content)).EthnicGroup)
    assert [token for token in planted.tokens if token.encode() in content] == [ethnic_group]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_hide_nothing(planted: Any, saved: Callable[[Dataset], bytes], cleaned: Clean, syntax: str) -> None:
    dataset = pydicom.dcmread(io.BytesIO(planted.content))
    dataset.walk(lambda _, element: element.value)  # else raw elements stay as they are
    dataset.file_meta.TransferSyntaxUID = syntax
    content = to_bytes(cleaned(saved(dataset)))
    assert [token for token in planted.tokens if token.encode() in content] == []


@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_random_identifier_in_any_attribute_of_the_table_does_not_survive(
    data: st.DataObject, slice_of: Callable[..., Dataset], saved: Callable[[Dataset], bytes], cleaned: Clean
) -> None:
    tag, token = data.draw(st.sampled_from(NAMED)), data.draw(TOKEN)
    own = dictionary_VR(tag)
    vr = data.draw(st.sampled_from([own, own, "LO", "OB", *(["UN"] if own != "SQ" else [])]))
    holder = dataset = slice_of()
    for keyword in data.draw(
        st.lists(st.sampled_from(["ReferencedImageSequence", "ContentSequence", "AnatomicRegionSequence"]), max_size=3)
    ):
        item = Dataset()
        setattr(holder, keyword, Sequence([item]))
        holder = item
    token = _plant(holder, tag, vr, token)
    assume(token not in to_bytes(cleaned(saved(slice_of()))))  # MONOCHROME2, ANONYMIZED: words of every result
    content = saved(dataset)
    assert token in content
    for policy in (Policy(), Policy(dates="shift")):
        assert token not in to_bytes(cleaned(content, Deidentifier(policy=policy)))


def _plant(holder: Dataset, tag: int, vr: str, token: str) -> bytes:
    """Put a token under a tag, in an item's text if a sequence must stand there; returns it as bytes."""
    if vr == "SQ":
        item = Dataset()
        item.PatientComments = token
        holder[tag] = DataElement(tag, vr, Sequence([item]))
        return token.encode()
    if vr in ("DA", "TM", "DT", "AS", "DS", "IS", "UI"):
        token = f"3{int(token, 36):09d}"[:9]
    holder[tag] = _raw(tag, vr, token)
    return token.encode()


def _raw(tag: int, vr: str, value: str) -> Any:
    """An element with a value that its representation does not allow."""
    padded = value.encode() + b" " * (len(value) % 2)
    return pydicom.dataelem.RawDataElement(pydicom.tag.Tag(tag), vr, len(padded), padded, 0, False, True)


def test_another_deidentifier_changes_nothing_that_we_leave(planted: Any, cleaned: Clean) -> None:
    """What dicom-anonymizer, with its own engine and transcription, removes or replaces, is removed or replaced here."""
    original, theirs = pydicom.dcmread(io.BytesIO(planted.content)), pydicom.dcmread(io.BytesIO(planted.content))
    anonymize_dataset(theirs, base_rules_gen=lambda: initialize_actions("dicomfields_2026c"))
    ours = cleaned(planted.content)
    changed = [e.tag for e in original if e.tag not in theirs or theirs[e.tag].value != e.value]
    assert len(changed) > 60
    assert [tag for tag in changed if tag in ours and ours[tag].value == original[tag].value] == []


def test_what_was_done_is_stated_in_codes(slice_of: Callable[..., Dataset], cleaned: Clean) -> None:
    plain, both = cleaned(slice_of()), cleaned(slice_of(), Deidentifier(policy=Policy("shift", keep_patient=True)))
    codes = [[item.CodeValue for item in dataset.DeidentificationMethodCodeSequence] for dataset in (plain, both)]
    assert codes == [["113100"], ["113100", "113107", "113108"]]
    assert {item.CodingSchemeDesignator for item in both.DeidentificationMethodCodeSequence} == {"DCM"}
    assert (plain.PatientIdentityRemoved, plain.LongitudinalTemporalInformationModified) == ("YES", "REMOVED")
    assert both.LongitudinalTemporalInformationModified == "MODIFIED"
    assert "PS3.15 2026c" in plain.DeidentificationMethod


def test_uids_patients_and_intervals_agree_over_studies_under_one_key(slice_of: Callable[..., Dataset], cleaned: Clean) -> None:
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.826.0.1.3680043.9.7434.1"
    first = slice_of(
        PatientID="A", PatientName="X^Y", StudyDate="20200110", SeriesTime="101500", AcquisitionDateTime="20200110101500.5+0100"
    )
    later = slice_of(PatientID="A", StudyDate="20200301", SOPInstanceUID="1.2.3.4", ReferencedImageSequence=Sequence([image]))
    other = slice_of(PatientID="B", StudyDate="20200110")
    a, b, c = (cleaned(ds, Deidentifier(Pseudonyms(KEY), Policy(dates="shift"))) for ds in (first, later, other))
    assert a.SOPInstanceUID == a.file_meta.MediaStorageSOPInstanceUID == b.ReferencedImageSequence[0].ReferencedSOPInstanceUID
    assert a.PatientID == a.PatientName == b.PatientID != c.PatientID
    day = pydicom.valuerep.DA
    assert day(b.StudyDate) - day(a.StudyDate) == day("20200301") - day("20200110")
    assert a.StudyDate not in ("20200110", c.StudyDate)
    assert a.AcquisitionDateTime == f"{a.StudyDate}101500.5+0100"
    assert a.SeriesTime == "101500"


def test_a_date_that_cannot_be_shifted_is_removed(slice_of: Callable[..., Dataset], cleaned: Clean) -> None:
    dataset = slice_of(PatientBirthDate="19500101", AcquisitionDate="20200506")
    dataset[0x00080021] = _raw(0x00080021, "DA", "2020.05.06")
    dataset[0x00080020] = _raw(0x00080020, "DA", "20201399")
    dataset[0x00080030] = _raw(0x00080030, "TM", "John")
    after = cleaned(dataset, Deidentifier(Pseudonyms(KEY), Policy(dates="shift")))
    assert (after.PatientBirthDate, after.StudyDate, after.StudyTime) == ("", "", "")
    assert len(after.SeriesDate) == 8


@pytest.mark.parametrize(("age", "kept"), [("071Y", "071Y"), ("090Y", "090Y"), ("093Y", "090Y"), ("003M", "003M")])
def test_patient_characteristics_are_kept_when_asked(slice_of: Callable[..., Dataset], cleaned: Clean, age: str, kept: str) -> None:
    dataset = slice_of(PatientSex="F", PatientAge=age, PatientWeight="71.5")
    after = cleaned(dataset, Deidentifier(policy=Policy(keep_patient=True)))
    assert (after.PatientSex, after.PatientAge, after.PatientWeight) == ("F", kept, 71.5)
    without = cleaned(dataset)
    assert without.PatientSex == ""
    assert "PatientAge" not in without
    assert "PatientWeight" not in without


def test_text_in_the_place_of_a_number_or_uid_goes(slice_of: Callable[..., Dataset], cleaned: Clean) -> None:
    dataset = slice_of()
    dataset[0x00180050] = _raw(0x00180050, "DS", "JOHNSMITH")
    dataset[0x00081150] = _raw(0x00081150, "UI", "JOHNSMITH")
    after = cleaned(dataset)
    assert after.SliceThickness is None
    assert after.ReferencedSOPClassUID.startswith("2.25.")


def test_an_image_that_may_show_text_is_refused_and_marked_when_let_through(
    slice_of: Callable[..., Dataset], cleaned: Clean
) -> None:
    dataset = slice_of(BurnedInAnnotation="YES")
    with pytest.raises(PhiError, match="--allow-burned-in"):
        cleaned(dataset)
    assert cleaned(dataset, Deidentifier(policy=Policy(allow_burned_in=True))).PatientIdentityRemoved == "NO"


def test_what_nobody_can_name_stays_without_a_name(slice_of: Callable[..., Dataset], cleaned: Clean) -> None:
    after = cleaned(slice_of())
    assert (after.PatientName, after.PatientID) == ("", "")


def _transfer_syntaxes(folder: Path | None) -> list[Path]:
    files = sorted((Path(pydicom.__file__).parent / "data/test_files").glob("*.dcm"))
    return files + (sorted(folder.glob("CTImage.dcm*")) if folder else [])


def test_pixel_bytes_and_transfer_syntax_stay_whatever_they_are() -> None:
    compared: set[str] = set()
    data = os.environ.get("MEDMM_TEST_DATA")
    for file in _transfer_syntaxes(Path(data) / "dicom/cornerstone3D/testImages" if data else None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                before = pydicom.dcmread(file)
                pixels = before.get("PixelData")
                dataset = pydicom.dcmread(file)
                Deidentifier(policy=Policy(allow_burned_in=True))(dataset)
                after = pydicom.dcmread(io.BytesIO(to_bytes(dataset)))
            except Exception:  # files that are damaged on purpose
                continue
        assert after.get("PixelData") == pixels, file.name
        assert after.file_meta.TransferSyntaxUID == before.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian), file.name
        if pixels:
            compared.add(str(after.file_meta.TransferSyntaxUID))
    assert len(compared) >= 10


@pytest.mark.parametrize("tool", ["dcmdump", "dciodvfy"])
def test_independent_readers_find_a_valid_object_without_identifiers(
    tool: str, planted: Any, patient_zip: Path, cleaned: Clean, tmp_path: Path
) -> None:
    if not shutil.which(tool):
        assert not os.environ.get("MEDMM_REQUIRE_ORTHANC"), f"{tool} must be installed here"
        pytest.skip(f"no {tool} here")
    with zipfile.ZipFile(patient_zip) as archive:
        real = archive.read(next(n for n in archive.namelist() if not n.endswith("/")))
    before, after, bare = (tmp_path / name for name in ("before", "after", "bare"))
    before.write_bytes(real)
    after.write_bytes(to_bytes(cleaned(real)))
    bare.write_bytes(to_bytes(cleaned(planted.content)))
    said = _run(tool, bare)
    assert "medmm" in said or tool == "dciodvfy"
    assert [token for token in planted.tokens if token in said] == []
    assert _errors(_run(tool, after)) <= _errors(_run(tool, before))


def _run(tool: str, file: Path) -> str:
    done = subprocess.run([tool, str(file)], capture_output=True, check=False, timeout=60)
    return (done.stdout + done.stderr).decode("latin-1")


def _errors(said: str) -> set[str]:
    return {line for line in said.splitlines() if line.startswith(("Error", "E:"))}
