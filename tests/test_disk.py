from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from medmm.disk import replace_bytes, replacing
from medmm.errors import StoreError


def test_a_file_is_replaced_in_one_step_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for content in (b"one", b"two"):
        replace_bytes(file, content)
        assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


def test_a_broken_off_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")

    def half() -> None:
        with replacing(file) as partial:
            partial.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


@pytest.mark.parametrize("place", ["missing/a.txt", "file/a.txt"])
def test_what_cannot_be_written_is_refused_without_a_path(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="the file system refused") as caught:
        replace_bytes(tmp_path / place, b"x")
    assert str(tmp_path) not in caught.value.message


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"old")
    code = f"from medmm.disk import replace_bytes; from pathlib import Path; replace_bytes(Path({str(file)!r}), bytes(50_000))"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # noqa: E731
    done = subprocess.run([sys.executable, "-c", code], preexec_fn=limit, capture_output=True, text=True, check=False)
    assert "StoreError" in done.stderr
    assert "the file system refused (EFBIG)" in done.stderr
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.bin", b"old")]
