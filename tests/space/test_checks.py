from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from medmm.errors import LicenceError, PhiError, TooLargeError
from medmm.shelf import Example, examples
from medmm.space import checks


@pytest.fixture
def named(tmp_path: Path, patient_zip: Path) -> Path:
    """A slice of a real study with a name in its header, zipped."""
    with zipfile.ZipFile(patient_zip) as source:
        (tmp_path / "slice.dcm").write_bytes(source.read(source.namelist()[0]))
    dataset = pydicom.dcmread(tmp_path / "slice.dcm")
    dataset.PatientName, dataset.PatientIdentityRemoved = "Canary^Name", "NO"
    if "DeidentificationMethod" in dataset:
        del dataset.DeidentificationMethod
    dataset.save_as(tmp_path / "slice.dcm")
    with zipfile.ZipFile(tmp_path / "named.zip", "w") as out:
        out.write(tmp_path / "slice.dcm", "slice.dcm")
    return tmp_path / "named.zip"


@pytest.mark.parametrize("example", examples(), ids=lambda e: e.path.stem)
def test_the_shipped_examples_name_nobody(example: Example) -> None:
    checks.check_example(example)


def test_a_name_in_a_header_is_refused_without_being_repeated(named: Path) -> None:
    with pytest.raises(PhiError, match="patient name") as caught:
        checks.check_example(replace(examples()[0], path=named))
    assert "Canary" not in caught.value.message


@pytest.mark.parametrize("where", ["note", "title", "truth"])
def test_a_name_in_any_text_is_refused(where: str) -> None:
    with pytest.raises(PhiError) as caught:
        checks.check_example(replace(examples()[0], **{where: "Seen by Dr. Canary Birdsong, MRN 4839201."}))
    assert "Canary" not in caught.value.message


def test_an_example_of_unknown_origin_is_refused() -> None:
    with pytest.raises(LicenceError, match="attribution"):
        checks.check_example(replace(examples()[0], attribution=" "))


@pytest.mark.parametrize("card", ["", "# a model", "---\n- list\n---\n", "---\nlicense: [\n---\n", "---\nlicense: other\n---\n"])
def test_a_card_without_a_licence_to_pass_on_is_refused(card: str) -> None:
    with pytest.raises(LicenceError):
        checks.check_licence(card)


def test_a_card_with_two_licences_lets_nobody_have_the_model() -> None:
    with pytest.raises(LicenceError, match="it has none"):
        checks.check_licence("---\nlicense: other\nlicense: mit\n---\n")


def test_a_licence_is_read_in_any_case() -> None:
    assert checks.check_licence("---\nlicense: MIT\n---\n") == "mit"


def test_sizes_are_counted_and_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"1" * 10)
    (tmp_path / "b").write_bytes(b"1" * 5)
    assert checks.check_size(tmp_path) == (2, 15)
    for limit, value in (("MAX_TOTAL_BYTES", 14), ("MAX_FILE_BYTES", 9), ("MAX_FILES", 1)):
        with monkeypatch.context() as tighter:
            tighter.setattr(checks, limit, value)
            with pytest.raises(TooLargeError):
                checks.check_size(tmp_path)
