"""Round trips with a real PACS."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from medmm import load_model, open_study
from medmm.sources.privacy import check_phi

READER = {"MEDMM_PACS_USER": "reader", "MEDMM_PACS_PASSWORD": "secret-word"}
WAYS = ["wado", "get", "move"]


def _ask(orthanc: Any, command: str, way: str, *extra: object) -> Any:
    if way == "wado":
        return orthanc.medmm(command, "dicomweb", orthanc.url, *extra, **READER)
    move = ["--move", orthanc.move_port] if way == "move" else []
    return orthanc.medmm(command, "dimse", orthanc.node, "--aet", "ORTHANC", *extra, *move)


@pytest.mark.parametrize("way", WAYS)
def test_a_study_comes_back_as_it_was_stored(
    orthanc: Any, patient_zip: Path, members: Callable[[Path], list[bytes]], tmp_path: Path, way: str
) -> None:
    out = tmp_path / "out"
    done = _ask(orthanc, "pull", way, "--study", orthanc.study, "--out", out, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    stored = {d.SOPInstanceUID: d for d in (pydicom.dcmread(io.BytesIO(b)) for b in members(patient_zip))}
    came = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, out.iterdir())}
    assert came.keys() == stored.keys()
    assert all(came[uid].PixelData == stored[uid].PixelData for uid in stored)
    assert all(came[uid].ImagePositionPatient == stored[uid].ImagePositionPatient for uid in stored)
    assert json.loads(done.stdout)["instances"] == len(stored)
    assert sorted(f.name for f in out.iterdir()) == [f"{i:06d}.dcm" for i in range(1, len(stored) + 1)]


def test_the_model_says_the_same_of_what_came_back(orthanc: Any, patient_zip: Path, tmp_path: Path) -> None:
    _ask(orthanc, "pull", "wado", "--study", orthanc.study, "--out", tmp_path / "out")
    model = load_model("sts51", "cpu")
    came, stored = (model.predict(open_study(path)).answer.probabilities for path in (tmp_path / "out", patient_zip))
    assert came == stored


def test_what_came_back_can_be_deidentified(orthanc: Any, tmp_path: Path) -> None:
    _ask(orthanc, "pull", "get", "--study", orthanc.study, "--out", tmp_path / "out")
    assert orthanc.medmm("deid", tmp_path / "out", tmp_path / "clean").returncode == 0
    assert check_phi(tmp_path / "clean") == ()


@pytest.mark.parametrize("way", ["wado", "get"])
def test_studies_are_found_by_patient(orthanc: Any, members: Callable[[Path], list[bytes]], patient_zip: Path, way: str) -> None:
    header = pydicom.dcmread(io.BytesIO(members(patient_zip)[0]))
    done = _ask(orthanc, "find", way, "--patient", header.PatientID, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(done.stdout)
    assert found["uid"] == orthanc.study
    assert found["instances"] == len(members(patient_zip))
    assert found["modalities"] == ["CT"]
    assert str(header.PatientName) not in json.dumps({**found, "description": ""})
    assert json.loads(_ask(orthanc, "find", way, "--patient", "NOBODY", "--json").stdout) == []
    assert orthanc.study in _ask(orthanc, "find", way, "--limit", "1").stdout


@pytest.mark.parametrize("way", WAYS)
def test_a_study_that_is_not_there(orthanc: Any, tmp_path: Path, way: str) -> None:
    done = _ask(orthanc, "pull", way, "--study", "1.2.3.4.5", "--out", tmp_path / "out", "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (2, "E_NO_IMAGE")
    assert list(tmp_path.iterdir()) == []


def test_without_credentials_nothing_comes_and_nothing_is_told(orthanc: Any, tmp_path: Path) -> None:
    for variables in ({}, {**READER, "MEDMM_PACS_PASSWORD": "wrong-word"}):
        done = orthanc.medmm("pull", "dicomweb", orthanc.url, "--study", orthanc.study, "--out", tmp_path / "out", **variables)
        assert done.returncode == 2
        assert done.stderr.startswith("E_REMOTE: Expected to be let in")
        said = done.stdout + done.stderr
        assert [word for word in (orthanc.study, "127.0.0.1", "wrong-word", str(tmp_path)) if word in said] == []


def test_a_title_the_node_does_not_know_is_rejected(orthanc: Any, tmp_path: Path) -> None:
    done = orthanc.medmm(
        "pull",
        "dimse",
        orthanc.node,
        "--aet",
        "ORTHANC",
        "--calling",
        "STRANGER",
        "--study",
        orthanc.study,
        "--out",
        tmp_path / "out",
    )
    assert done.returncode == 2
    assert "E_REMOTE" in done.stderr
