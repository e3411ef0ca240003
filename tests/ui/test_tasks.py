"""The work behind the page, called directly; across processes it is `test_worker.py`'s and `test_page.py`'s."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pydicom
import pytest

from medmm import open_study
from medmm.errors import MissingModalityError, ModelError, NoImageError, PhiError, TextError
from medmm.inference import Predictor, load_model
from medmm.shelf import find_model
from medmm.sources.spool import read_study, write_study
from medmm.ui import tasks

NOTE = "59-year-old male with a soft-tissue sarcoma of the left thigh. Grade: high."


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return load_model("sts51")


@pytest.fixture(scope="module")
def spooled(patient_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spool")
    write_study(open_study(patient_zip), folder)
    return folder


@pytest.fixture
def one_slice(patient_zip: Path, tmp_path: Path) -> Path:
    """One slice of a real patient: a study with a notice."""
    with zipfile.ZipFile(patient_zip) as archive:
        return Path(archive.extract(archive.namelist()[0], tmp_path / "slice"))


def test_reading_imports_nothing_that_answers(patient_zip: Path, tmp_path: Path) -> None:
    code = (
        "import json, sys; from medmm.ui.tasks import read\n"
        "before = 'pydicom' in sys.modules\n"
        "read(*sys.argv[1:])\n"
        "heavy = [m for m in ('torch', 'monai', 'transformers', 'gradio', 'tokenizers') if m in sys.modules]\n"
        "print(json.dumps([before, heavy]))"
    )
    command = [sys.executable, "-c", code, str(patient_zip), str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(found.stdout) == [False, []]
    assert (tmp_path / "study.json").exists()


def test_reading_leaves_the_checked_study_and_tells_what_it_is(one_slice: Path, tmp_path: Path) -> None:
    told = tasks.read(str(one_slice), str(tmp_path))
    study = open_study(one_slice)
    back = read_study(tmp_path)
    assert (back.volumes[0].array == study.volumes[0].array).all()
    assert told["study"] == json.loads(json.dumps(study.summary()))
    assert [w["code"] for w in told["warnings"]] == [n.code for n in study.notices] == ["W_SINGLE_SLICE"]
    assert json.loads(json.dumps(told)) == told


@pytest.fixture
def named_slice(one_slice: Path) -> Path:
    dataset = pydicom.dcmread(one_slice)
    dataset.PatientName, dataset.PatientIdentityRemoved = "SECRET^Anna", "NO"
    del dataset.DeidentificationMethod
    dataset.save_as(one_slice)
    return one_slice


def test_files_that_name_the_patient_are_told_of_without_the_name(named_slice: Path, tmp_path: Path) -> None:
    told = tasks.read(str(named_slice), str(tmp_path))
    (warning,) = (w for w in told["warnings"] if w["code"] == "W_IDENTIFIERS")
    assert "patient name" in warning["message"]
    assert "SECRET" not in json.dumps(told) + (tmp_path / "study.json").read_text()


def test_what_was_found_before_is_told_and_not_looked_for_again(named_slice: Path, tmp_path: Path) -> None:
    found = tasks.inspect(str(named_slice))["identifiers"]
    again = tasks.read(str(named_slice), str(tmp_path), identifiers=found)
    assert again == tasks.read(str(named_slice), str(tmp_path))
    unlooked = tasks.read(str(named_slice), str(tmp_path), identifiers=[])
    assert [w for w in again["warnings"] if w not in unlooked["warnings"]] == [
        w for w in again["warnings"] if w["code"] == "W_IDENTIFIERS"
    ]
    with pytest.raises(PhiError, match="patient name"):
        tasks.read(str(named_slice), str(tmp_path), public=True, identifiers=["patient name"])


def test_a_public_page_keeps_nothing_of_files_or_notes_that_name_the_patient(named_slice: Path, tmp_path: Path) -> None:
    with pytest.raises(PhiError, match="patient name"):
        tasks.read(str(named_slice), str(tmp_path), public=True)
    assert not (tmp_path / "study.json").exists()
    with pytest.raises(PhiError) as error:
        tasks.predict(None, "Mr. John Secret, phone 555-123-4567, sarcoma of the thigh.", str(find_model("sts51")), public=True)
    assert "Secret" not in error.value.message


def test_a_public_page_refuses_what_it_cannot_check(one_slice: Path, tmp_path: Path) -> None:
    (one_slice.parent / "damaged.dcm").write_bytes(b"\x00" * 128 + b"DICM" + b"\xff" * 64)
    assert tasks.read(str(one_slice.parent), str(tmp_path))["study"]["source"] == "dicom"
    with pytest.raises(PhiError, match="cannot be checked"):
        tasks.read(str(one_slice.parent), str(tmp_path), public=True)


def test_requests_are_answered_line_by_line_until_there_are_no_more(one_slice: Path, tmp_path: Path) -> None:
    asked = [(str(one_slice), str(tmp_path)), ("nowhere", str(tmp_path)), (str(one_slice), str(tmp_path / "nowhere"))]
    lines = [json.dumps({"task": "read", "arguments": {"path": path, "folder": folder}}) + "\n" for path, folder in asked]
    command = [sys.executable, "-m", "medmm.ui.tasks", "reader"]
    found = subprocess.run(command, input="".join(lines), capture_output=True, text=True, check=True, timeout=60)
    first, *refused = map(json.loads, found.stdout.splitlines())
    assert first["result"]["study"]["source"] == "dicom"
    assert [reply["error"]["code"] for reply in refused] == ["E_NO_IMAGE", "E_INTERNAL"]


@pytest.mark.parametrize(("image", "note"), [(True, NOTE), (True, None), (False, NOTE)])
def test_an_answer_is_the_predictors_for_the_same_study(
    shipped: Predictor, spooled: Path, patient_zip: Path, image: bool, note: str | None
) -> None:
    told = tasks.predict(str(spooled) if image else None, note, str(find_model("sts51")))
    expected = shipped.predict(open_study(patient_zip if image else None, note=note)).to_dict(with_text=True)
    different = {"seconds"}
    assert {k: v for k, v in told.items() if k not in different} == {k: v for k, v in expected.items() if k not in different}
    assert told["modalities"] == [m for m, given in (("image", image), ("text", note)) if given]
    assert set(((told["note"] or {}).get("text_used") or "").split()) <= set(NOTE.split())
    assert bool((told["note"] or {}).get("text_used")) == bool(note)


def test_the_text_used_is_what_the_tokenizer_keeps_of_a_long_note() -> None:
    told = tasks.predict(None, "sarcoma of the left thigh. " * 400, str(find_model("sts51")))
    assert "W_NOTE_CUT" in [w["code"] for w in told["warnings"]]
    assert 0 < len(told["note"]["text_used"]) < 400 * 27


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((None, None), MissingModalityError),
        ((None, " \u200b "), MissingModalityError),
        (("nowhere", NOTE), NoImageError),
        ((None, "x" * ((1 << 20) + 1)), TextError),
    ],
)
def test_what_cannot_be_answered_is_a_typed_error(arguments: tuple[Any, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        tasks.predict(*arguments, str(find_model("sts51")))


def test_warming_describes_the_model(tmp_path: Path) -> None:
    told = tasks.warm(str(find_model("sts51")))
    config = json.loads((find_model("sts51") / "config.json").read_text())
    assert told["labels"] == config["model"]["labels"]
    assert told["modalities"] == ["image", "text"]
    shipped = json.loads((find_model("sts51") / "results.json").read_text())
    assert told["results"] == {"tasks": [], **shipped}  # measured before there were further tasks
    assert json.loads(json.dumps(told)) == told
    with pytest.raises(ModelError):
        tasks.warm(str(tmp_path))
