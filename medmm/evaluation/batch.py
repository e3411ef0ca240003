"""The loop of a run: read ahead, answer, keep; until the end, a stop or too many failures."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from medmm.errors import BudgetError, NoImageError, WorkerError
from medmm.evaluation.about import Status
from medmm.evaluation.answering import Answering, Item
from medmm.settings import Limits
from medmm.sources.jail import read_ahead
from medmm.store import FULL_ARM, Record, RunStore
from medmm.types import OnProgress

RETRYABLE = (BudgetError.code, WorkerError.code, NoImageError.code)
"""Reasons that another try may take away, on another day or with other limits: time, memory, files not there."""


@dataclass
class Batch:
    """What is done of a run, and what one start adds to it.

    Attributes:
        store: Where rows are kept.
        answering: Makes them.
        items: All studies of the run.
        codes: Reason of each study that is done, empty where it has answers.
        resumed: Studies found done.
        retried: Studies tried again.
        waiting, working: Seconds spent on waiting for studies to be read, and on answering.
    """

    store: RunStore
    answering: Answering
    items: Sequence[Item]
    codes: dict[str, str] = field(default_factory=dict)
    resumed: int = 0
    retried: int = 0
    waiting: float = 0.0
    working: float = 0.0

    def predict(self, *, retry: bool, most: float, limits: Limits, stop: threading.Event, on_progress: OnProgress) -> Status:
        """Predict what is left, in order.

        Args:
            retry: Whether to try again what failed for a reason in `RETRYABLE`.
            most: Failed studies that are tolerated.
            limits: For reading one study.
            stop: Ends the loop when set.
            on_progress: Told before the first and after each study.
        """
        todo = self._todo({r.sample_id: r for r in self.store.records() if r.arm == FULL_ARM}, retry=retry)
        on_progress("predicting", len(self.codes), len(self.items))
        with closing(read_ahead(todo, limits=limits)) as opened:
            clock = time.perf_counter()
            for item, study in opened:
                came = time.perf_counter()
                if stop.is_set():  # what ended us may have ended the reading too: its outcome does not count
                    return "cancelled"
                if self.failed > most:
                    return "failed"
                rows = self.answering.rows(item, study)
                self.store.add(rows, again=item.attempt > 1)
                self.codes[item.case.study_id] = rows[0].code
                self.waiting, self.working = self.waiting + came - clock, self.working + time.perf_counter() - came
                on_progress("predicting", len(self.codes), len(self.items))
                clock = time.perf_counter()
        return "failed" if self.failed > most else "finished"

    @property
    def failed(self) -> int:
        """Studies whose row is a reason."""
        return sum(map(bool, self.codes.values()))

    def counts(self) -> dict[str, Any]:
        """Where every study of the run is, JSON ready."""
        reasons = Counter(code for code in self.codes.values() if code)
        return {"total": len(self.items), "done": len(self.codes), "failed": self.failed, "failures": dict(sorted(reasons.items()))}

    def timing(self) -> dict[str, float]:
        """Of this start, JSON ready."""
        predicted, seconds = len(self.codes) - self.resumed, self.waiting + self.working
        rate = predicted / seconds if seconds else 0.0
        return {"studies": predicted, "retried": self.retried, "studies_per_second": round(rate, 3),
                "waiting_seconds": round(self.waiting, 3), "working_seconds": round(self.working, 3)}  # fmt: skip

    def _todo(self, found: dict[str, Record], *, retry: bool) -> list[Item]:
        """What is left; what is tried again keeps its old row until it has a new one."""
        todo = []
        for item in self.items:
            row = found.get(item.case.study_id)
            if row is None:
                todo.append(item)
            elif retry and row.code in RETRYABLE:
                todo.append(replace(item, attempt=row.attempts + 1))
            else:
                self.codes[item.case.study_id] = row.code
        self.resumed, self.retried = len(self.codes), sum(item.attempt > 1 for item in todo)
        return todo
