"""A real helper process: its answers, its errors, its deaths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from medmm.errors import ArchiveError, MedmmError, NoImageError, WorkerError
from medmm.shelf import examples
from medmm.worker import Worker

TASKS = "medmm.ui.tasks"


@pytest.fixture(scope="module")
def reader() -> Iterator[Worker]:
    made = Worker(TASKS, "reader")
    yield made
    made.close()


@pytest.fixture
def read(reader: Worker, patient_zip: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Ask for a real patient to be read."""
    return lambda timeout=60: reader.call("read", timeout, path=str(patient_zip), folder=str(tmp_path))


def pid_of(worker: Worker) -> int:
    assert worker._process is not None
    return worker._process.pid


def test_an_answer_comes_from_a_process_that_stays(reader: Worker, read: Any, tmp_path: Path) -> None:
    first = read()
    pid = pid_of(reader)
    assert first == read()
    assert pid_of(reader) == pid != os.getpid()
    assert first["study"]["geometry"]["shape"] == first["pack"]["shape"]
    assert {f.name for f in tmp_path.iterdir()} == {"pack", "study.json", "volume0.npy"}


def test_a_typed_error_crosses_with_its_code_and_the_process_stays(reader: Worker, read: Any, tmp_path: Path) -> None:
    read()
    pid = pid_of(reader)
    (tmp_path / "SECRET.zip").write_bytes(b"PK\x03\x04 cut short")
    for path, leaf in (("SECRET nowhere", NoImageError), ("SECRET.zip", ArchiveError)):
        with pytest.raises(leaf) as caught:
            reader.call("read", 60, path=str(tmp_path / path), folder=str(tmp_path))
        assert type(caught.value) is leaf
        assert "SECRET" not in caught.value.message
        assert str(tmp_path) not in caught.value.message
    assert pid_of(reader) == pid


def test_an_untyped_error_names_only_its_kind(reader: Worker, patient_zip: Path, tmp_path: Path) -> None:
    with pytest.raises(MedmmError) as caught:
        reader.call("read", 60, path=str(patient_zip), folder=str(tmp_path / "SECRET"))
    assert (caught.value.code, caught.value.message) == ("E_INTERNAL", "Unexpected FileNotFoundError.")


def test_ctrl_c_is_left_to_whoever_asks(reader: Worker, read: Any, capfd: pytest.CaptureFixture[str]) -> None:
    expected = read()
    pid = pid_of(reader)
    os.kill(pid, signal.SIGINT)
    assert read() == expected
    assert pid_of(reader) == pid
    assert "KeyboardInterrupt" not in capfd.readouterr().err


def test_after_the_process_was_killed_between_calls_the_next_is_answered(reader: Worker, read: Any) -> None:
    expected = read()
    pid = pid_of(reader)
    os.kill(pid, signal.SIGKILL)
    assert answered_soon(read) == expected
    assert pid_of(reader) != pid


def answered_soon(read: Callable[[], Any]) -> Any:
    """The death may be noticed only by the call it fails."""
    try:
        return read()
    except WorkerError:
        return read()


def test_a_process_killed_at_work_is_a_typed_error_and_the_next_call_is_answered(
    reader: Worker, read: Any, alive: Callable[[int], bool]
) -> None:
    expected = read()
    pid = pid_of(reader)
    os.kill(pid, signal.SIGSTOP)  # certainly at work when it dies
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    start = time.monotonic()
    with pytest.raises(WorkerError):
        read()
    assert time.monotonic() - start < 30  # the call itself would wait 60
    killer.join()
    assert not alive(pid)
    assert read() == expected


def test_a_process_that_takes_too_long_is_killed_and_the_next_call_is_answered(
    reader: Worker, read: Any, alive: Callable[[int], bool]
) -> None:
    expected = read()
    pid = pid_of(reader)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(WorkerError) as caught:
        read(timeout=0.2)
    assert caught.value.code == "E_WORKER"
    assert not alive(pid)
    assert read() == expected


def test_a_late_answer_is_not_taken_for_the_next(reader: Worker, read: Any, tmp_path: Path) -> None:
    read()
    with pytest.raises(WorkerError):
        read(timeout=0.001)
    with pytest.raises(NoImageError, match="nothing at the given path"):
        reader.call("read", 60, path=str(tmp_path / "nowhere"), folder=str(tmp_path))


def test_calls_at_the_same_time_get_each_their_own_answer(reader: Worker, tmp_path: Path) -> None:
    studies = [e.path for e in examples()]
    alone = [reader.call("read", 60, path=str(s), folder=str(tmp_path)) for s in studies]
    assert len({str(answer) for answer in alone}) == len(studies)
    together: dict[int, Any] = {}

    def ask(index: int) -> None:
        together[index] = reader.call("read", 60, path=str(studies[index]), folder=str(tmp_path))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(studies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[i] for i in range(len(studies))] == alone


NOISE = """
import os, sys
def hook(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".zip"):
        print("printed by a library")
        sys.stdout.flush()
        os.write(1, b'{"result": "forged"}\\n')
        os.system("echo said by a grandchild")
sys.addaudithook(hook)
"""


CUT_SHORT = """
import os, signal, sys
def hook(event, arguments):
    if event == "import" and arguments[0] == "medmm.sources":
        for descriptor in range(3, 10):
            try:
                os.write(descriptor, b'{"result": {"pack"')
            except OSError:
                pass
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
"""


@pytest.fixture
def misled(patient_zip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Read a patient in a process where this code runs first."""
    worker = Worker(TASKS, "reader")

    def read_beside(code: str) -> Any:
        (tmp_path / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return worker.call("read", 60, path=str(patient_zip), folder=str(tmp_path))

    yield read_beside
    worker.close()


def test_an_answer_cut_short_by_death_is_a_typed_error(misled: Callable[[str], Any]) -> None:
    with pytest.raises(WorkerError):
        misled(CUT_SHORT)


def test_whatever_a_library_prints_is_not_an_answer(misled: Callable[[str], Any], capfd: pytest.CaptureFixture[str]) -> None:
    answer = misled(NOISE)
    assert answer["study"]["source"] == "dicom"
    printed = capfd.readouterr()
    assert all(word in printed.err for word in ("printed by a library", "forged", "said by a grandchild"))
    assert printed.out == ""


def test_close_ends_the_process_for_good(patient_zip: Path, tmp_path: Path, alive: Callable[[int], bool]) -> None:
    worker = Worker(TASKS, "reader")
    worker.call("read", 60, path=str(patient_zip), folder=str(tmp_path))
    pid = pid_of(worker)
    worker.close()
    assert not alive(pid)
    with pytest.raises(WorkerError):
        worker.call("read", 60, path=str(patient_zip), folder=str(tmp_path))
    assert worker._process is None
    worker.close()


def test_close_does_not_wait_for_a_call_under_way(patient_zip: Path, tmp_path: Path, alive: Callable[[int], bool]) -> None:
    worker = Worker(TASKS, "reader")
    worker.call("read", 60, path=str(patient_zip), folder=str(tmp_path))
    pid = pid_of(worker)
    os.kill(pid, signal.SIGSTOP)
    failed: list[Exception] = []

    def ask() -> None:
        try:
            worker.call("read", 60, path=str(patient_zip), folder=str(tmp_path))
        except WorkerError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.2)
    start = time.monotonic()
    worker.close()
    thread.join(10)
    assert time.monotonic() - start < 30  # the call itself would wait 60
    assert len(failed) == 1
    assert not alive(pid)


ORPHAN = """
import os, signal, sys
from medmm.errors import NoImageError
from medmm.worker import Worker
worker = Worker("medmm.ui.tasks", "reader")
try:
    worker.call("read", 60, path="nowhere", folder="nowhere")
except NoImageError:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_process_ends_when_its_server_is_killed() -> None:
    server = subprocess.Popen([sys.executable, "-c", ORPHAN], stderr=subprocess.PIPE)
    server.communicate(timeout=30)  # the pipe is at its end only when the helper, which inherited it, is gone too
    assert server.returncode == -signal.SIGKILL
