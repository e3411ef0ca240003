"""The served page under strain: who leaves in the middle, large, many and hostile uploads, requests that no browser makes."""

from __future__ import annotations

import fcntl
import io
import os
import signal
import socket
import termios
import time
import zipfile
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.visitors import Visitor, wait_until
from tests.zips import link, zipped

pytestmark = pytest.mark.browser
MB = 1 << 20
Come = Callable[[str], Visitor]


def helper(server: Any, role: str) -> psutil.Process:
    """The process behind the page that reads, or that holds the model."""
    return next(p for p in psutil.Process(server.process.pid).children() if p.cmdline()[-1] == role)


def is_asked(process: psutil.Process) -> bool:
    """Whether a request waits in the pipe of a stopped helper."""
    with Path(f"/proc/{process.pid}/fd/0").open("rb", buffering=0) as pipe:
        return fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)) != bytes(4)


@pytest.mark.parametrize("role", ["reader", "model"])
def test_what_is_done_for_who_has_left_ends_within_five_seconds(come: Come, server: Any, scan: bytes, role: str) -> None:
    def begin(visitor: Visitor) -> None:
        """Have a study read, or a question answered."""
        if role == "reader":
            files = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in visitor.upload(("a.zip", scan))]
            visitor.join("open_upload", files).raise_for_status()
        else:
            visitor.join("answer", None, "Nodule of 2 cm.", "phantom", None, None).raise_for_status()

    def is_served(visitor: Visitor) -> bool:
        """Whether he gets a volume, or an answer."""
        begin(visitor)
        found = [message["output"]["data"][0] for message in visitor.told() if message["msg"] == "process_completed"][-1]
        visitor.ask("wipe")
        return "levels" in found if role == "reader" else "mm-result" in found

    before = set(server.files())
    anna, ben = come(server.url), come(server.url)
    assert is_served(ben)
    anna.stay()
    working = helper(server, role)
    working.send_signal(signal.SIGSTOP)  # work that would last for minutes
    begin(anna)
    wait_until(lambda: is_asked(working))
    anna.close()
    wait_until(lambda: not working.is_running() and set(server.files()) <= before, seconds=5)
    assert is_served(ben)


def wakes(process: psutil.Process) -> dict[int, int]:
    """How often each of its threads has been woken so far."""
    states = {thread.id: Path(f"/proc/{process.pid}/task/{thread.id}/status").read_text() for thread in process.threads()}
    return {thread: int(state.partition("\nvoluntary_ctxt_switches:")[2].split()[0]) for thread, state in states.items()}


def test_a_page_that_nobody_asks_anything_rests(server: Any) -> None:
    process, seconds = psutil.Process(server.process.pid), 4
    before = wakes(process)
    time.sleep(seconds)
    woken = sum(count - before[thread] for thread, count in wakes(process).items() if thread in before)
    assert 0 < woken < 300 * seconds


def test_a_large_upload_takes_no_memory_and_is_refused_for_what_it_is(come: Come, server: Any) -> None:
    anna, page = come(server.url), psutil.Process(server.process.pid)
    before, largest = page.memory_info().rss, 0

    def body() -> Iterator[bytes]:
        nonlocal largest
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for megabyte in repeat(os.urandom(MB), 300):
            yield megabyte
            largest = max(largest, page.memory_info().rss)
        yield b"\r\n--b--\r\n"

    sent = anna.http.post("/gradio_api/upload", content=body(), headers={"content-type": "multipart/form-data; boundary=b"})
    (path,) = sent.json()
    assert Path(path).stat().st_size == 300 * MB
    assert largest - before < 64 * MB
    answer = anna.ask("open_upload", [{"path": path, "meta": {"_type": "gradio.FileData"}}])
    assert "E_NO_IMAGE" in answer[1]
    assert page.memory_info().rss - before < 64 * MB
    assert not Path(path).exists()


def test_a_study_among_a_thousand_files_is_read_and_the_others_are_named(come: Come, server: Any, scan: bytes) -> None:
    anna = come(server.url)
    with zipfile.ZipFile(io.BytesIO(scan)) as archive:
        slices = [archive.read(member) for member in archive.infolist() if not member.is_dir()]
    files = slices + [b"no image %d" % i for i in range(1000 - len(slices))]
    paths = anna.upload(*((f"{i}", content) for i, content in enumerate(files)))
    assert len(paths) == 1000
    spec, *_ = anna.ask("open_upload", [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths])
    assert spec is not None
    assert spec["shape"][2] == len(slices)
    assert not any(Path(path).exists() for path in paths)


@pytest.mark.parametrize(
    ("archive", "codes"),
    [
        (zipped(("a.dcm", bytes(300 * MB))), {"E_ARCHIVE", "E_TOO_LARGE"}),
        (zipped(("../../../../tmp/evil", b"x")), {"E_ARCHIVE"}),
        (zipped(("/tmp/evil", b"x")), {"E_ARCHIVE"}),
        (zipped((link("a"), b"/etc/passwd")), {"E_ARCHIVE"}),
        (zipped(("a.zip", zipped(("b.zip", zipped(("c.dcm", b"x")))))), {"E_ARCHIVE", "E_NO_IMAGE"}),
        (zipped(*((f"{i}", b"") for i in range(5001))), {"E_TOO_LARGE"}),
        (zipped(("a", b"x" * 1000))[:-30], {"E_ARCHIVE"}),
    ],
    ids=["bomb", "upwards", "absolute", "link", "nested", "many", "cut"],
)
def test_a_hostile_archive_is_refused_by_code_and_leaves_nothing(come: Come, server: Any, archive: bytes, codes: set[str]) -> None:
    before = set(server.files())
    opened = come(server.url).open("a.zip", archive)
    assert opened[0] is None
    assert [code for code in codes if code in opened[1]], opened[1]
    assert set(server.files()) <= before
    assert not Path("/tmp/evil").exists()


def say(server: Any, *lines: str) -> bytes:
    """Status line of the answer to a request written by hand; empty when the connection is closed instead."""
    host, port = server.url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        return connection.makefile("rb").readline()


@pytest.mark.parametrize(
    "lines",
    [
        ["GET http://evil.example/config HTTP/1.1", "Host: evil.example"],
        ["GET /config HTTP/1.1"],
        ["GET /config HTTP/1.1", "Host: evil.example", "Host: 127.0.0.1"],
        ["GET /config HTTP/1.1", "Host: 127.0.0.1", "Host: evil.example"],
        ["GET /config HTTP/1.1", "Host: 127.0.0.1", "X-Forwarded-Host: evil.example, 127.0.0.1"],
        ["GET /config HTTP/1.1", "Host: 127.0.0.1", "Origin: http://127.0.0.1", "Origin: http://evil.example"],
        ["GET /config HTTP/1.1", "Host: 127.0.0.1", "Origin: http://evil.example", "Origin: http://127.0.0.1"],
        ["GET /config HTTP/1.1", "Host: 127.0.0.1", "Origin: http://127.0.0.1@evil.example"],
        ["GET /config HTTP/1.1", "Host: 127.0.0.1", "Origin: file://"],
        ["POST /config HTTP/1.1", "Host: 127.0.0.1", "X-HTTP-Method-Override: DELETE", "Origin: http://evil.example"],
        ["POST /gradio_api/upload HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1", "Content-Length: 2"],
        ["POST /gradio_api/upload HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 5", "Transfer-Encoding: chunked"],
        ["GET /gradio_api/file=/etc/passwd\\..\\x HTTP/1.1", "Host: 127.0.0.1"],
        ["GET /gradio_api/file=%00/etc/passwd HTTP/1.1", "Host: 127.0.0.1"],
        ["GET /gradio_api/file=%252e%252e%252fetc%252fpasswd HTTP/1.1", "Host: 127.0.0.1"],
        ["GET /gradio_api/medmm/batch/%2e%2e%2f%2e%2e/metrics.json HTTP/1.1", "Host: 127.0.0.1"],
        ["GET /gradio_api/medmm/viewer/..%2f..%2fpage.css HTTP/1.1", "Host: 127.0.0.1"],
        ["GET //gradio_api/runs HTTP/1.1", "Host: 127.0.0.1"],
        ["GET /;/gradio_api/runs HTTP/1.1", "Host: 127.0.0.1"],
        ["GET * HTTP/1.1", "Host: 127.0.0.1"],
        ["CONNECT evil.example:80 HTTP/1.1", "Host: 127.0.0.1"],
    ],
)  # fmt: skip
def test_requests_that_no_browser_makes_are_refused(server: Any, lines: list[str]) -> None:
    answered = say(server, *lines)
    assert answered == b"" or answered.split()[1].startswith(b"4"), answered
