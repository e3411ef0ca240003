"""Notes spoken: the words are the note's, the recordings reproducible."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from medmm import make_phantom, read_cohort
from medmm.errors import DependencyError
from medmm.sources.jail import Jail
from medmm.sources.phantom.voice import Speaker


@pytest.fixture(scope="module")
def voice() -> None:
    """Skip where nothing speaks."""
    if shutil.which("espeak-ng") is None:
        assert not os.environ.get("MEDMM_REQUIRE_VOICE"), "espeak-ng must be installed here"
        pytest.skip("espeak-ng is not installed")


@pytest.mark.usefixtures("voice")
def test_a_dictated_cohort_is_the_silent_one_with_recordings(tmp_path: Path) -> None:
    silent, spoken, again = (tmp_path / name for name in ("silent", "spoken", "again"))
    make_phantom(silent, 20, seed=5, image_format="nifti", matrix=48)
    for folder in (spoken, again):
        make_phantom(folder, 20, seed=5, image_format="nifti", matrix=48, dictate="flac")
    tables = {}
    for folder in (silent, spoken):
        with (folder / "cohort.csv").open(encoding="utf-8", newline="") as file:
            tables[folder] = list(csv.DictReader(file))
    files = [row.pop("audio") for row in tables[spoken]]
    assert tables[spoken] == tables[silent]
    assert all((spoken / f).read_bytes() == (again / f).read_bytes() for f in files)
    assert json.loads((spoken / "truth.json").read_text())["speaker"].startswith("eSpeak NG")
    assert str(spoken) not in (spoken / "truth.json").read_text()
    with Jail() as jail:
        study = read_cohort(spoken / "cohort.csv").cases[0].open(jail.open)
    assert study.modalities == {"image", "text", "audio"}
    assert study.recording is not None
    assert len(study.note.text.split()) / study.recording.seconds == pytest.approx(2.4, abs=1.0)  # words a second
    assert np.abs(study.recording.samples).max() > 0.1


@pytest.mark.usefixtures("voice")
def test_patients_have_voices_of_their_own_and_flac_loses_nothing(tmp_path: Path) -> None:
    made = {}
    for form in ("wav", "flac"):
        for seed in (0, 1):
            path = Speaker(form).speak("Known lesion, 2.4 cm in diameter.", np.random.default_rng(seed), tmp_path, f"S{seed}")
            made[form, seed] = soundfile.read(path, dtype="int16")[0]
    assert np.array_equal(made["wav", 0], made["flac", 0])
    assert made["wav", 0].shape != made["wav", 1].shape
    assert {f.name for f in tmp_path.iterdir()} == {"S0.flac", "S1.flac", "S0.wav", "S1.wav"}


@pytest.mark.usefixtures("voice")
def test_other_words_sound_otherwise(tmp_path: Path) -> None:
    said = [Speaker("wav").speak(t, np.random.default_rng(0), tmp_path, t[:2]).read_bytes() for t in ("No fever.", "Fever.")]
    assert said[0] != said[1]


def test_without_a_voice_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyError, match="espeak-ng"):
        make_phantom(tmp_path / "out", 20, matrix=48, dictate="wav")
    assert not (tmp_path / "out").exists()
