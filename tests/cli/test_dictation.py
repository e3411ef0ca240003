"""`medmm transcribe` and `medmm predict --asr` as scripts see them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from medmm.cli import app
from medmm.errors import InputError
from tests.recognisers import wav2vec2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recogniser, a recording, and a cohort of it."""
    made = tmp_path_factory.mktemp("dictation")
    wav2vec2(made / "asr")
    sound = np.random.default_rng(0).standard_normal(32_000).astype(np.float32) * 0.1
    soundfile.write(made / "spoken.wav", sound, 16_000)
    (made / "cohort.csv").write_text("study_id,patient_id,audio\n1,a,spoken.wav\n2,b,\n")
    return made


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout


def test_a_recording_is_written_down_and_answered(folder: Path) -> None:
    code, said = call("transcribe", folder / "spoken.wav", "--asr", folder / "asr", "--json")
    heard = json.loads(said)
    assert (code, heard["seconds"]) == (0, 2.0)
    assert 0 < heard["confidence"] < 1
    assert call("transcribe", folder / "spoken.wav", "--asr", folder / "asr") == (0, heard["text"] + "\n")
    asked = ("predict", "--audio", folder / "spoken.wav", "--asr", folder / "asr", "--json", "--show-text")
    answer = json.loads(call(*asked)[1])
    assert answer["modalities"] == ["text"]
    assert answer["note"]["text_used"].split() == heard["text"].split()
    assert "W_DICTATED" in [w["code"] for w in answer["warnings"]]
    typed = json.loads(call(*asked, "--note", "a mass of 3 cm")[1])
    assert typed["note"]["text_used"].startswith("a mass of")
    assert "W_DICTATED" not in [w["code"] for w in typed["warnings"]]


def test_a_cohort_is_written_down(folder: Path) -> None:
    code, _ = call("transcribe", folder / "cohort.csv", "--asr", folder / "asr", "--out", folder / "notes.csv")
    assert code == 0
    assert (folder / "notes.csv").read_text().splitlines()[0] == "study_id,patient_id,audio,note,note_confidence"


@pytest.mark.parametrize(
    "arguments",
    [("transcribe", "cohort.csv"), ("transcribe", "spoken.wav", "--out", "x.csv"), ("predict", "--json")],
)
def test_what_cannot_be_meant_is_refused(folder: Path, arguments: tuple[str, ...]) -> None:
    command, *rest = (folder / a if (folder / a).exists() else a for a in arguments)
    if command == "predict":
        code, said = call(command, *rest, "--asr", folder / "asr")
        assert code == 2
        assert json.loads(said)["error"]["code"] == "E_INPUT"
    else:
        with pytest.raises(InputError):
            call(command, *rest, "--asr", folder / "asr")
