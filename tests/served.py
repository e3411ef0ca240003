"""A page served in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Server:
    """A running `medmm demo`: its address, its process, the folder its files are in, and the file with what it said on stderr."""

    url: str
    process: subprocess.Popen[str]
    temp: Path
    said: Path

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        with self.process:
            self.process.send_signal(how)

    def files(self) -> list[Path]:
        """Every file it holds at the moment."""
        return [p for p in self.temp.rglob("*") if p.is_file()]


def start(temp: Path, *command: str) -> Server:
    """Start a page whose temporary files are in a folder, and wait until it is served.

    Args:
        temp: Made when it is not there.
        *command: What Python runs, `medmm demo` when empty; `{port}` is filled in.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temp.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(temp), "GRADIO_SERVER_PORT": str(port)}
    words = command or ("-m", "medmm", "demo", "--port", "{port}")
    arguments = [sys.executable, *(word.format(port=port) for word in words)]
    said = temp.with_suffix(".said")
    with said.open("a") as errors:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
    assert process.stdout is not None
    assert any("being served" in line for line in process.stdout), "the page ended without being served"
    return Server(f"http://127.0.0.1:{port}/", process, temp, said)
