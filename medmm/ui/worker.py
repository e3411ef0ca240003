"""A helper process that answers requests one at a time, is killed when it takes too long, and comes back."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from typing import Any

from medmm.errors import MedmmError, WorkerError

_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}


class RemoteError(MedmmError):
    """An error that happened in the helper process, with its own code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Worker:
    """One process of `medmm.ui.tasks`.

    Args:
        role: `reader` or `model`.
    """

    def __init__(self, role: str) -> None:
        self._role = role
        self._lock = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[str] | None = None
        self._replies: queue.Queue[str] = queue.Queue()

    def call(self, task: str, timeout: float, **arguments: Any) -> dict[str, Any]:
        """Ask for one task and wait.

        Args:
            task: Name of a task of the role.
            timeout: Seconds after which the process is killed.
            **arguments: JSON-ready arguments of the task.

        Raises:
            RemoteError: The task's own error, with its code.
            WorkerError: If the process died, took too long or was closed.
        """
        with self._lock:
            process = self._running()
            assert process.stdin is not None  # opened as a pipe
            try:
                process.stdin.write(json.dumps({"task": task, "arguments": arguments}) + "\n")
                process.stdin.flush()
                line = self._replies.get(timeout=timeout)
            except (OSError, queue.Empty):
                line = ""
            if not line.endswith("\n"):  # no reply, or one cut short by the death of its writer
                self._kill()
                msg = f"Expected an answer within {timeout:.0f} seconds; the working process died or took longer. Try again."
                raise WorkerError(msg)
        reply = json.loads(line)
        if "error" in reply:
            raise RemoteError(reply["error"]["code"], reply["error"]["message"])
        result: dict[str, Any] = reply["result"]
        return result

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
            msg = "Expected a running page; it is being stopped. Start it again."
            raise WorkerError(msg)
        if self._process is not None and self._process.poll() is not None:
            self._kill()  # it is dead already; this closes its pipes
        if self._process is None:
            self._replies = queue.Queue()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "medmm.ui.tasks", self._role],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
                env=os.environ | _ENVIRONMENT,
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
