"""Recordings: what is heard stays the same, and what is no recording is a typed error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from medmm.errors import AudioError, DependencyError
from medmm.sources.audio import RATE, read_recording


def tone(rate: int, seconds: float = 0.5, frequency: float = 440.0) -> Any:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize(
    ("kind", "subtype"), [("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("flac", "PCM_24")]
)
def test_samples_at_the_target_rate_come_as_they_are(tmp_path: Path, kind: str, subtype: str) -> None:
    soundfile.write(tmp_path / f"a.{kind}", tone(RATE), RATE, subtype)
    recording = read_recording(tmp_path / f"a.{kind}")
    np.testing.assert_allclose(recording.samples, tone(RATE), atol=1e-4)
    assert (recording.rate, recording.samples.dtype, recording.seconds) == (RATE, np.float32, 0.5)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 192_000])
def test_another_rate_keeps_the_tone_and_its_loudness(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(rate), rate)
    samples = read_recording(tmp_path / "a.wav").samples
    assert abs(len(samples) - RATE // 2) <= 1
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * RATE / len(samples) == pytest.approx(440, abs=2)
    assert np.sqrt((samples[800:-800] ** 2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_what_the_target_rate_cannot_hold_is_removed_and_not_folded_back(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(48_000, frequency=15_000), 48_000)
    assert np.abs(read_recording(tmp_path / "a.wav").samples[500:-500]).max() < 0.01


def test_channels_are_averaged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([tone(RATE), -tone(RATE)], axis=1), RATE, "FLOAT")
    np.testing.assert_allclose(read_recording(tmp_path / "a.wav").samples, 0, atol=1e-7)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5])
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_file_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    file = tmp_path / f"a.{kind}"
    soundfile.write(file, np.random.default_rng(0).uniform(-1, 1, RATE), RATE)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(AudioError):
        read_recording(file)


def test_a_wav_that_was_written_to_a_pipe_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(RATE), RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    assert read_recording(tmp_path / "a.wav").seconds == pytest.approx(0.5)


def test_damaged_files_are_finite_or_a_typed_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("wav", "flac"):
        file = tmp_path / f"a.{kind}"
        soundfile.write(file, tone(RATE, 0.2), RATE, "FLOAT" if kind == "wav" else "PCM_16")
        content = file.read_bytes()
        for _ in range(150):
            mutant = bytearray(content)
            for i in rng.integers(min(len(mutant), 400), size=int(rng.integers(1, 6))):
                mutant[i] = rng.integers(256)
            file.write_bytes(mutant)
            try:
                assert np.isfinite(read_recording(file).samples).all()
            except AudioError:
                continue


@pytest.mark.parametrize(
    "content", [b"", b"OggS" + bytes(100), b"ID3" + bytes(100), b"#EXTM3U\nhttp://127.0.0.1/x", b"RIFF" + bytes(100)]
)
def test_other_formats_are_refused_without_being_tried(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "SECRET.wav").write_bytes(content)
    with pytest.raises(AudioError) as caught:
        read_recording(tmp_path / "SECRET.wav")
    assert "SECRET" not in caught.value.message


def test_limits_on_size_duration_channels_and_rate(tmp_path: Path) -> None:
    file = tmp_path / "a.flac"
    soundfile.write(file, np.zeros(RATE * 301, np.int16), RATE)  # 5 minutes and 1 second of nothing: a few kilobytes
    assert file.stat().st_size < 1 << 20
    with pytest.raises(AudioError, match="300 seconds"):
        read_recording(file)
    soundfile.write(file, np.zeros(RATE * 300, np.int16), RATE)
    assert read_recording(file).seconds == 300
    for shape, rate in (((48_000 * 100, 8), 48_000), ((1000, 1), 400_000), ((1000, 1), 1_000)):
        soundfile.write(file, np.zeros(shape, np.int16), rate)
        with pytest.raises(AudioError):
            read_recording(file)
    with (tmp_path / "b.wav").open("wb") as large:
        large.write(b"RIFF")
        large.truncate((25 << 20) + 1)
    with pytest.raises(AudioError, match="25 MB"):
        read_recording(tmp_path / "b.wav")


def test_infinite_samples_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0, np.inf, 0], np.float32), RATE, "FLOAT")
    with pytest.raises(AudioError, match="finite"):
        read_recording(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["SECRET nowhere", "SECRET\0nul", "folder"])
def test_a_file_that_cannot_be_opened_is_refused_without_naming_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(AudioError) as caught:
        read_recording(tmp_path / name)
    assert "SECRET" not in caught.value.message


def test_without_soundfile_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(DependencyError, match=r"medmm\[audio\]"):
        read_recording(tmp_path / "a.wav")


def test_reading_images_does_not_import_it() -> None:
    code = "import sys, medmm.sources; print('soundfile' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
