"""`medmm predict` and `medmm models` as scripts see them: stdout, stderr and exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from medmm.cli import app
from medmm.shelf import find_model, model_names

NOTE = "59-year-old male with a soft-tissue sarcoma of the left thigh, identifier Q7-4411."
KEYS = {"labels", "probabilities", "calibrated", "modalities", "geometry", "model", "warnings"}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own, warnings of libraries and all."""
    command = [sys.executable, "-W", "default", "-m", "medmm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def call(*arguments: object) -> tuple[int, str]:
    """In this process: exit code and stdout."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.stdout


@pytest.fixture(scope="module")
def dicom_folder(patient_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dicom") / "PatientDoe"
    with zipfile.ZipFile(patient_zip) as archive:
        archive.extractall(folder)
    return folder


def check_answer(document: dict[str, Any]) -> None:
    assert set(document) >= KEYS
    assert list(document["probabilities"]) == document["labels"] == ["no_lung_mets", "lung_mets"]
    assert sum(document["probabilities"].values()) == pytest.approx(1)
    assert document["calibrated"] is True
    assert document["model"]["name"] == "sts51"
    assert len(document["model"]["sha256"]) == 64


@pytest.mark.parametrize("given", ["zip_and_note", "folder_alone", "note_alone"])
def test_one_json_document_and_nothing_else_on_stdout(given: str, patient_zip: Path, dicom_folder: Path) -> None:
    arguments: dict[str, list[object]] = {
        "zip_and_note": [patient_zip, "--note", NOTE],
        "folder_alone": [dicom_folder],
        "note_alone": ["--note", NOTE],
    }
    done = run("predict", *arguments[given], "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    check_answer(document)
    expected = {
        "zip_and_note": (["image", "text"], []),
        "folder_alone": (["image"], ["W_NO_TEXT"]),
        "note_alone": (["text"], ["W_NO_IMAGE"]),
    }
    assert (document["modalities"], [w["code"] for w in document["warnings"]]) == expected[given]
    if given == "note_alone":
        assert document["geometry"] is None
    else:
        assert document["geometry"] == {
            **document["geometry"], "orientation": "LPS", "plane": "axial", "unit": "HU", "modality": "CT"
        }  # fmt: skip
        assert document["series"]["source"] == "dicom"
    for secret in ("/", "Q7-4411", "PatientDoe", patient_zip.stem):
        assert secret not in done.stdout, secret


def test_the_text_that_was_read_is_said_when_asked_for() -> None:
    told = json.loads(run("predict", "--note", NOTE, "--json").stdout)["note"]
    shown = json.loads(run("predict", "--note", NOTE, "--json", "--show-text").stdout)["note"]
    assert "text_used" not in told
    assert shown == told | {"text_used": shown["text_used"]}
    assert len(shown["text_used"]) == told["characters_used"]
    assert "Q7-4411" in shown["text_used"]
    assert "Q7-4411" in run("predict", "--note", NOTE, "--show-text").stdout


def picture(folder: Path) -> Path:
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(folder / "picture.png")
    return folder / "picture.png"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("nothing", "E_MISSING_MODALITY"),
        ("empty_note", "E_MISSING_MODALITY"),
        ("empty_folder", "E_NO_IMAGE"),
        ("absent", "E_NO_IMAGE"),
        ("picture", "E_OUT_OF_SCOPE"),
        ("picture_and_note", "E_OUT_OF_SCOPE"),
        ("binary_note", "E_TEXT"),
        ("lost_note_file", "E_TEXT"),
        ("note_twice", "E_INPUT"),
        ("no_model", "E_MODEL_INTEGRITY"),
        ("spoiled_model", "E_MODEL_INTEGRITY"),
        ("empty_model", "E_MODEL_INTEGRITY"),
        ("wrong_series", None),
        ("series_of_one_of_two", "E_INPUT"),
        ("wrong_series_of_the_second", "E_NO_IMAGE"),
        ("series_of_nothing", "E_INPUT"),
    ],
)
def test_what_cannot_be_answered_is_a_json_error_and_exit_code_2(
    given: str, code: str | None, tmp_path: Path, dicom_folder: Path
) -> None:
    spoiled = shutil.copytree(find_model("sts51"), tmp_path / "spoiled_model")
    with (spoiled / "calibration.json").open("a") as file:
        file.write(" ")
    (tmp_path / "empty").mkdir()
    arguments: dict[str, list[object]] = {
        "nothing": [],
        "empty_note": ["--note", "  "],
        "empty_folder": [tmp_path / "empty"],
        "absent": [tmp_path / "nothing_here"],
        "picture": [picture(tmp_path)],
        "picture_and_note": [picture(tmp_path), "--note", NOTE],
        "binary_note": ["--note-file", picture(tmp_path)],
        "lost_note_file": ["--note-file", tmp_path / "lost.txt"],
        "note_twice": ["--note", NOTE, "--note-file", tmp_path / "lost.txt"],
        "no_model": ["--note", NOTE, "--model", tmp_path / "nothing_here"],
        "spoiled_model": ["--note", NOTE, "--model", spoiled],
        "empty_model": ["--note", NOTE, "--model", tmp_path / "empty"],
        "wrong_series": [dicom_folder, "--series", "1.2.3"],
        "series_of_one_of_two": [dicom_folder, dicom_folder, "--series", "1"],
        "wrong_series_of_the_second": [dicom_folder, dicom_folder, "--series", "", "--series", "1.2.3"],
        "series_of_nothing": ["--note", NOTE, "--series", "1"],
    }
    status, stdout = call("predict", *arguments[given], "--json")
    assert status == 2
    error = json.loads(stdout)["error"]
    assert set(error) == {"code", "message"}
    assert code is None or error["code"] == code
    assert str(tmp_path) not in stdout
    assert "Q7-4411" not in stdout


def test_several_images_are_one_study(patient_zip: Path) -> None:
    one, both = (json.loads(call("predict", *images, "--json")[1]) for images in ([patient_zip], [patient_zip, patient_zip]))
    told = {warning["code"]: warning["message"] for warning in both["warnings"]}
    assert told["W_EXTRA_IMAGES"] == "Only the first of 2 images was used."  # by this model
    assert "W_EXTRA_IMAGES" not in {warning["code"] for warning in one["warnings"]}
    assert both["probabilities"] == one["probabilities"]
    named = json.loads(call("predict", patient_zip, patient_zip, "--series", "1", "--series", "", "--json")[1])
    assert named["probabilities"] == one["probabilities"]


def test_without_json_an_error_is_one_line_on_stderr(tmp_path: Path) -> None:
    done = run("predict", tmp_path / "nothing_here")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("E_NO_IMAGE: ")
    assert done.stderr.count("\n") == 1


def test_people_get_percentages_the_call_and_the_disclaimer(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text(NOTE, encoding="utf-8")
    status, stdout = call("predict", "--note-file", tmp_path / "note.txt")
    assert status == 0
    assert stdout.count("%") == 2
    assert "<- called" in stdout
    assert "from text; calibrated: yes" in stdout
    assert "W_NO_IMAGE" in stdout
    assert "Research use only" in stdout


def test_shipped_models_are_listed_and_shown() -> None:
    status, stdout = call("models", "ls", "--json")
    assert status == 0
    assert json.loads(stdout) == model_names()
    assert "sts51" in json.loads(stdout)
    assert call("models", "ls")[1].split() == model_names()
    status, card = call("models", "show", "sts51")
    assert status == 0
    assert card.startswith("---\nlibrary_name: medmm")
    assert "auroc" in card


@pytest.mark.parametrize("name", ["sts52", "."])
def test_showing_a_model_that_is_not_there_is_refused(name: str) -> None:
    done = run("models", "show", name)
    assert done.returncode == 2
    assert done.stderr.startswith("E_MODEL_INTEGRITY")


def test_the_help_of_train_names_every_fusion() -> None:
    from medmm.fusion import FUSIONS

    told = " ".join(CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "2000"}).output.split())
    assert [name for name in FUSIONS if name not in told] == []
