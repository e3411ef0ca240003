from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medmm.scratch import private_folder

PREFIX = "medmm-test-"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_fresh_private_and_named_by_its_owner(temporary: Path) -> None:
    first, second = private_folder(PREFIX), private_folder(PREFIX)
    assert first != second
    for folder in (first, second):
        assert folder.parent == temporary
        assert folder.name.startswith(f"{PREFIX}{os.getpid()}-")
        assert folder.stat().st_mode & 0o777 == 0o700


def test_folders_of_the_dead_go_and_those_of_the_living_and_of_others_stay(temporary: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = temporary / f"{PREFIX}{gone.pid}-abc"
    kept = [
        temporary / name for name in (f"{PREFIX}1-abc", f"{PREFIX}{os.getpid()}-abc", f"{PREFIX}of-somebody", f"other-{gone.pid}-a")
    ]
    for folder in (dead, *kept):
        folder.mkdir()
        (folder / "volume").touch()
    private_folder(PREFIX)
    assert not dead.exists()
    assert all((folder / "volume").exists() for folder in kept)
