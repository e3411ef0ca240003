"""Notes spoken by eSpeak NG: recordings whose words are known."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np

from medmm.errors import DependencyError
from medmm.optional import require

AudioFormat = Literal["wav", "flac"]

_PROGRAM = "espeak-ng"
_ACCENTS = ("en-us", "en-gb")
_SPEAKERS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5")
_WORDS_A_MINUTE = (135, 185)
_PITCH = (30, 70)  # of 0 to 99
_SECONDS = 60.0


class Speaker:
    """eSpeak NG, with another voice, speed and pitch for each patient.

    Args:
        form: `wav` or `flac`, in 16 bits and one channel.

    Attributes:
        name: Program and version.

    Raises:
        DependencyError: If eSpeak NG, or for `flac` soundfile, is not installed.
    """

    def __init__(self, form: AudioFormat) -> None:
        if shutil.which(_PROGRAM) is None:
            msg = f"Speaking notes needs {_PROGRAM}, which is not installed. Install it (Debian: apt install {_PROGRAM})."
            raise DependencyError(msg)
        self._form = form
        self._soundfile = require("soundfile", "Writing FLAC", "audio") if form == "flac" else None
        self.name = self._run(["--version"], "").decode("ascii", "replace").partition("Data at")[0].strip()

    def speak(self, text: str, rng: np.random.Generator, folder: Path, study_id: str) -> Path:
        """Write a note as speech; the same text and random state give the same bytes."""
        accent, speaker = (choices[int(rng.integers(len(choices)))] for choices in (_ACCENTS, _SPEAKERS))
        speed, pitch = (str(rng.integers(*bounds)) for bounds in (_WORDS_A_MINUTE, _PITCH))
        target = folder / f"{study_id}.{self._form}"
        with tempfile.TemporaryDirectory() as scratch:
            wav = Path(scratch) / "spoken.wav"
            self._run(["-v", f"{accent}+{speaker}", "-s", speed, "-p", pitch, "-w", str(wav), "--stdin"], text)
            if self._soundfile is None:
                shutil.copyfile(wav, target)
            else:
                samples, rate = self._soundfile.read(wav, dtype="int16")
                self._soundfile.write(target, samples, rate, subtype="PCM_16")
        return target

    @staticmethod
    def _run(arguments: list[str], text: str) -> bytes:
        try:
            done = subprocess.run([_PROGRAM, *arguments], input=text.encode(), capture_output=True, timeout=_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError):
            msg = f"Expected {_PROGRAM} to speak; it failed. Try it alone, and install it again."
            raise DependencyError(msg) from None
        return done.stdout
