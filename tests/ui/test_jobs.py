"""Answers in line before a real process: their order, their progress, and that they stop when told to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from medmm.errors import CancelledError, MissingModalityError, WorkerError
from medmm.shelf import find_model
from medmm.ui.jobs import Job, Jobs
from medmm.worker import Worker
from tests.visitors import wait_until

NOTE = "History: soft-tissue sarcoma of the left thigh."


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    made = Worker("medmm.ui.tasks", "model")
    yield made
    made.close()


@pytest.fixture(scope="module")
def jobs(worker: Worker) -> Jobs:
    return Jobs(worker.call)


@pytest.fixture
def ask(jobs: Jobs) -> Callable[..., Job]:
    """Put a note into the line."""
    model = str(find_model("sts51"))
    return lambda session="anna", note=NOTE: jobs.start(session, "sts51", "predict", 120.0, folder=None, note=note, model=model)


@pytest.fixture
def held(worker: Worker, ask: Callable[..., Job]) -> Iterator[Job]:
    """A job that is certainly under way and goes no further."""
    ask("anna").result()
    assert worker._process is not None
    pid = worker._process.pid
    os.kill(pid, signal.SIGSTOP)
    job = ask("anna")
    wait_until(lambda: job.began > 0)
    yield job
    if worker._process is not None and worker._process.pid == pid:
        os.kill(pid, signal.SIGCONT)


def test_an_answer_comes_with_the_phases_it_went_through(ask: Callable[..., Job]) -> None:
    job = ask()
    told: list[str] = []
    heard = job.watch.told
    job.watch.told = lambda phase: (told.append(phase), heard(phase))[1]
    assert job.result()["modalities"] == ["text"]
    assert job.succeeded
    assert told[-1] == "network"
    assert job.phase == "network"


def test_an_error_is_raised_where_the_answer_is_asked_for(ask: Callable[..., Job]) -> None:
    job = ask(note=None)
    with pytest.raises(MissingModalityError):
        job.result()
    assert not job.succeeded


def test_those_behind_know_their_place_and_about_how_long(jobs: Jobs, held: Job, ask: Callable[..., Job]) -> None:
    second, third = ask("berta"), ask("carl")
    wait_until(lambda: jobs.place(third) == 2)
    assert [jobs.place(job) for job in (held, second, third)] == [0, 1, 2]
    left = [jobs.seconds_left(job) for job in (held, second, third)]
    assert all(seconds is not None for seconds in left)
    assert left[1] <= left[2]  # type: ignore[operator]
    second.cancel()
    wait_until(lambda: jobs.place(third) == 1)
    with pytest.raises(CancelledError):
        second.result()
    jobs.cancel("anna")
    with pytest.raises(CancelledError):
        held.result()
    assert third.result()["modalities"] == ["text"]  # a fresh process answers for the one that had to be killed


def test_one_visitor_stops_only_what_is_hers(jobs: Jobs, held: Job, ask: Callable[..., Job]) -> None:
    other = ask("berta")
    began = time.monotonic()
    jobs.cancel("anna")
    with pytest.raises(CancelledError):
        held.result()
    assert time.monotonic() - began < 60  # it would have stood for 120
    assert other.result()["modalities"] == ["text"]


def test_nothing_is_promised_about_a_kind_never_seen(jobs: Jobs, held: Job, tmp_path: Path) -> None:
    job = jobs.start("anna", "another", "predict", 120.0, folder=None, note=NOTE, model=str(tmp_path))
    assert jobs.seconds_left(job) is None
    job.cancel()
    held.cancel()
    for each in (job, held):
        with pytest.raises(CancelledError):
            each.result()


def test_whatever_goes_wrong_those_behind_get_their_turn() -> None:
    def call(task: str, *_: Any, **__: Any) -> dict[str, Any]:
        if task == "fails":
            msg = "SECRET"
            raise BlockingIOError(msg)
        return {"done": True}

    jobs = Jobs(call)
    with pytest.raises(WorkerError, match="BlockingIOError") as caught:
        jobs.start("anna", "kind", "fails", 1.0).result()
    assert "SECRET" not in caught.value.message
    assert jobs.start("ben", "kind", "works", 1.0).result() == {"done": True}
