"""Answers being worked out: one at a time, first come first served, each of which can be watched and stopped."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from statistics import median
from typing import Any

from medmm.errors import MedmmError, WorkerError
from medmm.worker import Watch

Call = Callable[..., dict[str, Any]]
"""Does a task: its name, its timeout, a watch and its arguments, as `Worker.call` takes them."""

_POLL = 0.1
_REMEMBERED = 8  # durations of each kind


class Job:
    """One call to a worker, under way in a thread of its own.

    Attributes:
        session: Visitor who asked.
        kind: What it takes about as long as.
        began: When its turn came, by the monotonic clock; 0 before.
        phase: What is being done, in the task's own word; empty before its turn.
        done: Set when there is a result or an error.
    """

    def __init__(self, session: str, kind: str) -> None:
        self.session, self.kind = session, kind
        self.phase = ""
        self.began = 0.0
        self.done = threading.Event()
        self.watch = Watch(self._told)
        self._result: dict[str, Any] = {}
        self._error: MedmmError | None = None

    def result(self) -> dict[str, Any]:
        """The worker's answer, waited for.

        Raises:
            MedmmError: What it raised; CancelledError when it was stopped.
        """
        self.done.wait()
        if self._error is not None:
            raise self._error
        return self._result

    @property
    def succeeded(self) -> bool:
        """Whether there is a result."""
        return bool(self._result)

    def cancel(self) -> None:
        """Stop it, wherever it stands."""
        self.watch.cancelled.set()

    def do(self, call: Call, task: str, timeout: float, arguments: dict[str, Any]) -> None:
        """Have it done; never raises."""
        self.began = time.monotonic()
        try:
            self._result = call(task, timeout, self.watch, **arguments)
        except MedmmError as error:
            self._error = error
        except Exception as error:  # no room for a process, for one: whatever it is, those behind must get their turn
            self._error = WorkerError(f"Expected the working process to be there; it is not ({type(error).__name__}). Try again.")

    def _told(self, phase: str) -> None:
        self.phase = phase


class Jobs:
    """The line before one worker.

    Args:
        call: Does the work.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._line: deque[Job] = deque()
        self._moved = threading.Condition()
        self._seconds: dict[str, deque[float]] = {}

    def start(self, session: str, kind: str, task: str, timeout: float, **arguments: Any) -> Job:
        """Put a call into the line.

        Args:
            session: Visitor who asks.
            kind: Calls of one kind take about equally long; a model's name.
            task: As for `Worker.call`.
            timeout: As for `Worker.call`.
            **arguments: As for `Worker.call`.
        """
        job = Job(session, kind)
        with self._moved:
            self._line.append(job)
        threading.Thread(target=self._do, args=(job, task, timeout, arguments), daemon=True).start()
        return job

    def cancel(self, session: str) -> None:
        """Stop everything of one visitor."""
        with self._moved:
            mine = [job for job in self._line if job.session == session]
        for job in mine:
            job.cancel()

    def place(self, job: Job) -> int:
        """How many are served before it."""
        with self._moved:
            return self._line.index(job) if job in self._line else 0

    def seconds_left(self, job: Job) -> float | None:
        """About how long until it is answered, from the last ones of its kind; None when there were none."""
        with self._moved:
            ahead = list(self._line)[: self._line.index(job)] if job in self._line else []
            usual = [self._usual(each.kind) for each in (*ahead, job)]
            first = ahead[0] if ahead else job
        known = [seconds for seconds in usual if seconds is not None]
        if len(known) < len(usual):
            return None
        return max(0.0, sum(known) - (time.monotonic() - first.began if first.began else 0.0))

    def _usual(self, kind: str) -> float | None:
        return median(self._seconds[kind]) if kind in self._seconds else None

    def _do(self, job: Job, task: str, timeout: float, arguments: dict[str, Any]) -> None:
        with self._moved:
            while self._line[0] is not job and not job.watch.cancelled.is_set():
                self._moved.wait(_POLL)
        job.do(self._call, task, timeout, arguments)
        with self._moved:
            self._line.remove(job)
            if job.succeeded:
                self._seconds.setdefault(job.kind, deque(maxlen=_REMEMBERED)).append(time.monotonic() - job.began)
            self._moved.notify_all()
        job.done.set()


async def watched(job: Job, tell: Callable[[], str]) -> AsyncIterator[str]:
    """Where a job stands, whenever that changes, until it is done; it is stopped when nobody watches any more.

    Args:
        job: Under way.
        tell: Says where it stands.
    """
    shown = ""
    try:
        while not job.done.is_set():
            told = tell()
            if told != shown:
                yield told
            shown = told
            await asyncio.sleep(_POLL)
    finally:
        if not job.done.is_set():
            job.cancel()
