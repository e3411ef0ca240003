from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from medmm.disk import appearing, replace_bytes, replacing, sha256_of, sole_user
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


HOLDER = """
import sys
from pathlib import Path
from medmm.disk import sha256_of, sole_user
with sole_user(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_a_folder_has_one_user_until_it_lets_go_or_dies(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(StoreError, match="another process is working on it"), sole_user(tmp_path):
            pass
        other.kill()
    for _ in range(2):
        with sole_user(tmp_path):
            pass


def test_a_folder_that_cannot_be_made_has_no_user(tmp_path: Path) -> None:
    (tmp_path / "SECRET").write_text("x")
    with pytest.raises(StoreError, match="can be written") as caught, sole_user(tmp_path / "SECRET"):
        pass
    assert "SECRET" not in caught.value.message


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"old")
    code = f"from medmm.disk import replace_bytes; from pathlib import Path; replace_bytes(Path({str(file)!r}), bytes(50_000))"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # noqa: E731
    done = subprocess.run([sys.executable, "-c", code], preexec_fn=limit, capture_output=True, text=True, check=False)
    assert "StoreError" in done.stderr
    assert "the file system refused (EFBIG)" in done.stderr
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.bin", b"old")]


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with appearing(tmp_path / "new") as partial:
        (partial / "a").write_text("x")
        assert not (tmp_path / "new").exists()
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == ["new", "new/a"]


def test_a_broken_off_folder_never_appears(tmp_path: Path) -> None:
    def half() -> None:
        with appearing(tmp_path / "new") as partial:
            (partial / "a").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(StoreError, match="new or empty folder"), appearing(tmp_path):
        pass
    with pytest.raises(StoreError, match="the file system refused"), appearing(tmp_path / "a/b"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_digest_of_a_file_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
