"""Where visitors' files live and how they go."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medmm.errors import NoImageError
from medmm.ui.session import Sessions

NAME = "SECRET^Patient 1970.zip"


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    made = Sessions()
    yield made
    made.close()


@pytest.fixture
def store(sessions: Sessions, send: Any) -> Any:
    return lambda content: send(sessions, content, NAME)


def spool(sessions: Sessions, session: str) -> tuple[str, Path]:
    token, folder = sessions.new(session)
    (folder / "volume0.npy").write_bytes(b"voxels")
    return token, folder


def files(folder: Path) -> list[str]:
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


def test_a_study_is_found_by_its_token_and_only_for_its_visitor(sessions: Sessions) -> None:
    token, folder = spool(sessions, "anna")
    assert sessions.find(token) == sessions.find(token, "anna") == folder
    for stranger in ("ben", "", "ännä"):
        with pytest.raises(NoImageError, match="Open it again"):
            sessions.find(token, stranger)
    assert sessions.find(token, "anna") == folder


def test_a_token_nobody_was_given_finds_nothing(sessions: Sessions) -> None:
    spool(sessions, "anna")
    for token in ("", "../uploads", "no such token", "ö"):
        with pytest.raises(NoImageError):
            sessions.find(token)


def test_tokens_and_folders_are_unguessable_and_tell_nothing(sessions: Sessions) -> None:
    made = [sessions.new(f"visitor{i}") for i in range(50)]
    tokens, folders = [t for t, _ in made], [f.name for _, f in made]
    assert len(set(tokens)) == len(set(folders)) == 50
    assert min(map(len, tokens + folders)) >= 32
    assert not set(tokens) & set(folders)
    assert not any("visitor" in name for name in tokens + folders)


def test_the_next_study_of_a_visitor_replaces_the_first_and_leaves_others_alone(sessions: Sessions) -> None:
    first, first_folder = spool(sessions, "anna")
    other, _ = spool(sessions, "ben")
    second, second_folder = spool(sessions, "anna")
    assert not first_folder.exists()
    assert second_folder.is_dir()
    assert sessions.find(other)
    assert sessions.find(second)
    with pytest.raises(NoImageError):
        sessions.find(first)


def test_a_visitor_who_leaves_leaves_nothing(sessions: Sessions) -> None:
    token, folder = spool(sessions, "anna")
    _, kept = spool(sessions, "ben")
    sessions.wipe("anna")
    sessions.wipe("nobody")
    assert (folder.exists(), kept.exists()) == (False, True)
    with pytest.raises(NoImageError):
        sessions.find(token, "anna")


def test_one_study_can_be_dropped_and_again(sessions: Sessions) -> None:
    token, folder = spool(sessions, "anna")
    sessions.drop(token)
    sessions.drop(token)
    assert not folder.exists()


def test_an_old_study_goes_although_nobody_asks() -> None:
    sessions = Sessions(max_age=0.5)
    try:
        _, folder = spool(sessions, "anna")
        assert folder.is_dir()
        wait_until_gone(folder)
    finally:
        sessions.close()


def test_an_old_study_is_not_found_and_goes_when_asked_for() -> None:
    sessions = Sessions(max_age=0.05)
    try:
        token, folder = spool(sessions, "anna")
        time.sleep(0.1)
        with pytest.raises(NoImageError):
            sessions.find(token, "anna")
        assert not folder.exists()
    finally:
        sessions.close()


def test_a_sweep_keeps_what_is_young(sessions: Sessions, store: Any) -> None:
    _, folder = spool(sessions, "anna")
    upload = store(b"young")
    sessions.sweep()
    assert files(folder) == ["volume0.npy"]
    assert Path(upload).is_file()


def test_a_sweep_removes_a_folder_filled_after_its_study_went(sessions: Sessions) -> None:
    token, folder = spool(sessions, "anna")
    sessions.drop(token)
    folder.mkdir()
    (folder / "volume0.npy").write_bytes(b"written by a reader that had not finished")
    sessions.sweep()
    assert not folder.exists()
    assert sessions.uploads.is_dir()


def test_a_sweep_removes_uploads_nobody_opened(sessions: Sessions, store: Any) -> None:
    upload, partial = Path(store(b"forgotten")), sessions.uploads / "tmpabc"
    partial.write_bytes(b"broken off")
    long_ago = time.time() - 3600
    for file in (upload, partial):
        os.utime(file, (long_ago, long_ago))
    sessions.sweep()
    assert files(sessions.uploads) == []


@pytest.mark.parametrize("count", [1, 3])
def test_uploads_are_moved_under_numbers_and_their_names_are_forgotten(sessions: Sessions, store: Any, count: int) -> None:
    contents = [f"content {i}".encode() for i in range(count)]
    uploads = [store(content) for content in contents]
    _, folder = sessions.new("anna")
    opened = sessions.adopt(uploads, folder)
    assert opened == (folder / "incoming" / "00000" if count == 1 else folder / "incoming")
    assert files(folder) == [f"incoming/{i:05d}" for i in range(count)]
    assert [(folder / "incoming" / f"{i:05d}").read_bytes() for i in range(count)] == contents
    assert list(sessions.uploads.iterdir()) == []
    assert not [p for p in sessions.root.rglob("*") if "SECRET" in p.name]


def test_files_of_one_upload_folder_are_all_adopted(sessions: Sessions, store: Any) -> None:
    first = Path(store(b"one"))
    (first.parent / "SECRET 2.dcm").write_bytes(b"two")
    sessions.visitors.give(first.parent / "SECRET 2.dcm", "")
    _, folder = sessions.new("anna")
    sessions.adopt([str(first), str(first.parent / "SECRET 2.dcm")], folder)
    assert files(sessions.root) == [f"{folder.name}/incoming/00000", f"{folder.name}/incoming/00001"]


def test_a_file_that_the_visitor_did_not_send_stays_where_it_is(sessions: Sessions, store: Any, tmp_path: Path) -> None:
    mine = tmp_path / "notes.txt"
    mine.write_text("of the server's owner")
    sessions.visitors.meet("s", "anna")
    upload = store(b"of a program")
    for wrong in (str(mine), str(tmp_path), upload, f"{Path(upload).parent}/../{Path(upload).parent.name}/{NAME}"):
        with pytest.raises(NoImageError):
            sessions.adopt([wrong], sessions.new("s")[1], "s")
    assert mine.exists()
    assert Path(upload).exists()


def test_an_upload_that_is_gone_is_a_typed_refusal_without_its_name(sessions: Sessions, store: Any) -> None:
    upload = store(b"content")
    sessions.adopt([upload], sessions.new("anna")[1])
    with pytest.raises(NoImageError) as caught:
        sessions.adopt([upload], sessions.new("ben")[1])
    assert "SECRET" not in caught.value.message
    assert "/" not in caught.value.message


def test_nobody_else_on_the_machine_may_look_in(sessions: Sessions) -> None:
    _, folder = spool(sessions, "anna")
    assert [stat.S_IMODE(f.stat().st_mode) for f in (sessions.root, folder)] == [0o700, 0o700]
    assert sessions.root in sessions.uploads.parents


def test_close_removes_everything(store: Any, sessions: Sessions) -> None:
    spool(sessions, "anna")
    store(b"upload")
    sessions.close()
    assert not sessions.root.exists()
    sessions.sweep()
    sessions.close()


SERVER = """
import sys, time
from medmm.ui.session import Sessions
token, folder = (sessions := Sessions()).new("anna")
(folder / "volume0.npy").write_bytes(b"voxels")
print(sessions.root, flush=True)
time.sleep(60)
"""


def test_leftovers_of_a_killed_server_go_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}

    def serve() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    (killed, dead), (living, kept) = serve(), serve()
    foreign = tmp_path / "medmm-page-of-somebody"
    foreign.mkdir()
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert files(dead)
        third, _ = serve()
        third.kill()
        third.wait()
        assert not dead.exists()
        assert files(kept)
        assert foreign.exists()
    finally:
        for process in (killed, living, third):
            process.kill()
            process.communicate()


def wait_until_gone(path: Path) -> None:
    deadline = time.monotonic() + 10
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
