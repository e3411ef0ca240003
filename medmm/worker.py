"""A process that answers requests one at a time, is killed when it takes too long, and comes back.

`Worker` is the asking side; `serve` is the main loop of the module it starts. They exchange one JSON
document a line over pipes.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from medmm.errors import CancelledError, MedmmError, WorkerError, error_of
from medmm.optional import own_process

Task = Callable[..., dict[str, Any]]
"""What a worker does when asked: JSON-ready arguments to a JSON-ready answer."""

SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Environment of a process that forks, which one with threads cannot do safely."""

GRACE = 2.0
"""Seconds that a cancelled task has to end by itself before its process is killed."""

_POLL = 0.05
_PROGRESS = '{"progress": '
_TELL: ContextVar[Callable[[str], None]] = ContextVar("tell", default=lambda _: None)
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}


@dataclass(slots=True)
class Watch:
    """How a call under way is followed and stopped.

    Attributes:
        told: Called with each word the task says of its progress.
        cancelled: Once set, the call ends soon and has no answer.
    """

    told: Callable[[str], None] = lambda _: None
    cancelled: threading.Event = field(default_factory=threading.Event)


class Worker:
    """One process running a module that ends in `serve`.

    Args:
        module: What to run, as in `python -m`.
        *arguments: Its command line.
        environment: Variables set for it beside the inherited ones.
    """

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._environment = {**_ENVIRONMENT, **(environment or {})}
        self._lock = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[str] | None = None
        self._replies: queue.Queue[str] = queue.Queue()

    def call(self, task: str, timeout: float, watch: Watch | None = None, **arguments: Any) -> dict[str, Any]:
        """Ask for one task and wait.

        Args:
            task: Name of a task the module serves.
            timeout: Seconds after which the process is killed.
            watch: To follow and stop the call.
            **arguments: JSON-ready arguments of the task.

        Raises:
            MedmmError: The task's own error.
            WorkerError: If the process died, took too long or was closed.
            CancelledError: If `watch` was cancelled.
        """
        watch = watch or Watch()
        while not self._lock.acquire(timeout=_POLL):
            _stop_if_cancelled(watch)
        try:
            line = self._ask({"task": task, "arguments": arguments}, timeout, watch)
        finally:
            self._lock.release()
        return result_of(json.loads(line))

    def _ask(self, request: dict[str, Any], timeout: float, watch: Watch) -> str:
        """The line with the answer."""
        _stop_if_cancelled(watch)
        process = self._running()
        assert process.stdin is not None  # opened as a pipe
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = self._reply(time.monotonic() + timeout, watch)
        except OSError:
            line = ""
        if not line.endswith("\n"):  # no reply, or one cut short by the death of its writer
            self._kill()
        _stop_if_cancelled(watch)
        if not line.endswith("\n"):
            msg = f"Expected an answer within {timeout:.0f} seconds; the working process died or took longer. Try again."
            raise WorkerError(msg)
        return line

    def _reply(self, deadline: float, watch: Watch) -> str:
        """The line with the answer; what comes before it tells of progress. Empty when there is none in time."""
        cancelled = False
        while (left := deadline - time.monotonic()) > 0:
            if watch.cancelled.is_set() and not cancelled:
                cancelled, deadline = True, min(deadline, time.monotonic() + GRACE)
            with contextlib.suppress(queue.Empty):
                line = self._replies.get(timeout=min(left, _POLL))
                if not line.startswith(_PROGRESS):
                    return line
                watch.told(json.loads(line)["progress"])
        return ""

    def close(self) -> None:
        """Stop the process for good; a call under way fails."""
        self._closed = True
        while not self._lock.acquire(timeout=0.05):
            if (process := self._process) is not None:
                process.kill()
        try:
            self._kill()
        finally:
            self._lock.release()

    def _running(self) -> subprocess.Popen[str]:
        if self._closed:
            msg = "Expected a running worker; it is being stopped. Start it again."
            raise WorkerError(msg)
        if self._process is not None and self._process.poll() is not None:
            self._kill()  # it is dead already; this closes its pipes
        if self._process is None:
            self._replies = queue.Queue()
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
                env=os.environ | self._environment,
            )  # fmt: skip
            threading.Thread(target=self._listen, args=(self._process, self._replies), daemon=True).start()
        return self._process

    @staticmethod
    def _listen(process: subprocess.Popen[str], replies: queue.Queue[str]) -> None:
        assert process.stdout is not None  # opened as a pipe
        with process.stdout as lines:
            for line in lines:
                replies.put(line)
        replies.put("")  # the process is gone

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            with contextlib.suppress(OSError):  # what it did not read any more
                assert self._process.stdin is not None  # opened as a pipe
                self._process.stdin.close()
            self._process = None


def serve(make_tasks: Callable[[], Mapping[str, Task]]) -> None:
    """Answer requests from stdin on stdout until there are no more.

    Args:
        make_tasks: Gives what can be asked for, by name; what it imports may print.
    """
    own_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks; we end when there are no more requests
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints must not break the protocol
    tasks = make_tasks()

    def write(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    _TELL.set(lambda word: write({"progress": word}))
    for line in sys.stdin:
        request = json.loads(line)
        write(answer(tasks[request["task"]], request["arguments"]))


def tell(word: str) -> None:
    """Say what is being done to whoever asked for the task under way; a task that nobody asked for is heard by nobody."""
    _TELL.get()(word)


def _stop_if_cancelled(watch: Watch) -> None:
    if watch.cancelled.is_set():
        msg = "Expected to be let finish; it was cancelled. Ask again when you want an answer."
        raise CancelledError(msg)


def answer(task: Task, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`{"result": ...}` of a task, or `{"error": {"code", "message"}}` of whatever it raised, without its content."""
    try:
        return {"result": task(**arguments)}
    except MedmmError as error:
        return {"error": {"code": error.code, "message": error.message}}
    except Exception as error:
        return {"error": {"code": MedmmError.code, "message": f"Unexpected {type(error).__name__}."}}


def result_of(reply: Mapping[str, Any]) -> dict[str, Any]:
    """What a task returned, from the reply `answer` made.

    Raises:
        MedmmError: What the task raised.
    """
    if "error" in reply:
        raise error_of(reply["error"]["code"], reply["error"]["message"])
    result: dict[str, Any] = reply["result"]
    return result
