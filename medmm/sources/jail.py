"""Studies opened where foreign bytes can do no harm, and ahead of whoever uses them.

`Jail.open` gives what `open_study` gives, but every byte is decoded in a child process with limits
(`medmm.sources.cell`); this process only ever reads the checked files the child leaves.
"""

from __future__ import annotations

import queue
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Protocol, TypeVar

from medmm.errors import MedmmError
from medmm.scratch import private_folder
from medmm.settings import LIMITS, Limits
from medmm.sources.cell import Allowance
from medmm.sources.opener import Opener, Source
from medmm.sources.spool import read_study
from medmm.sources.text import make_note
from medmm.study import Note, Study
from medmm.worker import SINGLE_THREADED, Worker

PREFIX = "medmm-jail-"
_GRACE = 15.0  # seconds for the warm process itself: to start, fork and clean up
_WORTH_ANOTHER = 2.0  # seconds waited for studies, about what the start of a process costs


class Job(Protocol):
    """Something that becomes a study when it is given a way to open paths, e.g. a `cohort.Case`."""

    def open(self, opener: Opener) -> Study:
        """Open what is to be opened with `opener`, and put it together."""
        ...


AnyJob = TypeVar("AnyJob", bound=Job)


class Jail:
    """A warm process that opens studies one at a time, each in a child of its own. A context manager.

    Args:
        limits: What a study may cost; `seconds` and `memory_bytes` count here.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._allowance = Allowance(limits.seconds, limits.memory_bytes, limits.total_bytes)
        self._worker = Worker("medmm.sources.cell", environment=SINGLE_THREADED)
        self._folder = private_folder(PREFIX)

    def __enter__(self) -> Jail:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(
        self,
        path: Source,
        note: str | Note | None = None,
        *,
        series: str | None = None,
        repair: Sequence[str] = (),
        audio: Source = None,
    ) -> Study:
        """Read one patient's study; arguments and result are those of `open_study`.

        Raises:
            InputError: What `open_study` raises; BudgetError when it took more than it may.
            WorkerError: If the warm process itself died.
        """
        study = Study() if path is None and audio is None else self._read(path, series, repair, audio)
        return study.with_note(make_note(note) if isinstance(note, str) else note)

    def close(self) -> None:
        """End the process and remove its files."""
        self._worker.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, path: Source, series: str | None, repair: Sequence[str], audio: Source) -> Study:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            self._worker.call(
                "open", self._allowance.seconds + _GRACE, allowance=asdict(self._allowance),
                path=_absolute(path), folder=folder, series=series, repair=list(repair), audio=_absolute(audio),
            )  # fmt: skip
            return read_study(Path(folder))


def _absolute(path: Source) -> str | None:
    return None if path is None else str(Path(path).absolute())


def open_study_jailed(
    path: Source,
    note: str | Note | None = None,
    *,
    series: str | None = None,
    repair: Sequence[str] = (),
    audio: Source = None,
    limits: Limits = LIMITS,
) -> Study:
    """`open_study`, with every foreign byte decoded in a child process with limits.

    For more than one study make one `Jail`, whose start costs half a second, or use `read_ahead`.
    """
    with Jail(limits) as jail:
        return jail.open(path, note, series=series, repair=repair, audio=audio)


def read_ahead(
    jobs: Iterable[AnyJob], workers: int = 2, limits: Limits = LIMITS
) -> Generator[tuple[AnyJob, Study | MedmmError], None, None]:
    """Open studies in jails while the caller is busy with earlier ones.

    Args:
        jobs: What to open, e.g. the cases of a cohort.
        workers: Studies read at the same time; as many more wait ready. The first reads alone until the caller has waited
            for it as long as the start of another costs: small studies are all read by then.
        limits: As for `Jail`.

    Yields:
        (job, its study or the error it met), in the order of `jobs`.

    Example:
        >>> for case, study in medmm.sources.jail.read_ahead(cohort.cases):  # doctest: +SKIP
        ...     print(study.code if isinstance(study, MedmmError) else study.summary())
    """
    jails = [Jail(limits) for _ in range(workers)]
    pool = ThreadPoolExecutor(workers)
    try:
        yield from _in_order(jobs, pool, jails)
    finally:  # the caller may stop early: then what is still being read is ended, not waited for
        pool.shutdown(wait=False, cancel_futures=True)
        for jail in jails:
            jail.close()
        pool.shutdown()


def _in_order(jobs: Iterable[AnyJob], pool: ThreadPoolExecutor, jails: list[Jail]) -> Iterator[tuple[AnyJob, Study | MedmmError]]:
    readers = _Readers(jails)
    ahead: deque[tuple[AnyJob, Future[Study | MedmmError]]] = deque()
    for job in jobs:
        ahead.append((job, pool.submit(readers.attempt, job)))
        if len(ahead) > 2 * len(jails):
            first, opening = ahead.popleft()
            yield first, readers.wait_for(opening)
    for first, opening in ahead:
        yield first, readers.wait_for(opening)


class _Readers:
    """The first jail, and each other one from when it is worth its start.

    Args:
        jails: None of them started yet.
    """

    def __init__(self, jails: list[Jail]) -> None:
        first, *self._others = jails
        self._free: queue.SimpleQueue[Jail] = queue.SimpleQueue()
        self._free.put(first)
        self._waited: float | None = None

    def attempt(self, job: Job) -> Study | MedmmError:
        """Open a job as soon as a jail is free; called by a thread."""
        jail = self._free.get()
        try:
            return job.open(jail.open)
        except MedmmError as error:
            return error
        except Exception as error:  # one odd case must not end a batch
            return MedmmError(f"Unexpected {type(error).__name__}.")
        finally:
            self._free.put(jail)

    def wait_for(self, opening: Future[Study | MedmmError]) -> Study | MedmmError:
        """What was opened; another jail joins when enough has been waited, the start of the first not counted."""
        began = time.monotonic()
        opened = opening.result()
        self._waited = 0.0 if self._waited is None else self._waited + time.monotonic() - began
        if self._others and self._waited > _WORTH_ANOTHER:
            self._free.put(self._others.pop())
            self._waited = 0.0
        return opened
