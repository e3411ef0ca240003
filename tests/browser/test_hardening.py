"""The served page against visitors who mean no good, over plain HTTP and in Chromium."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest

from medmm.shelf import examples
from medmm.ui.login import VARIABLE, hashed
from tests.visitors import Visitor, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("drip")]
CANARY = "CANARY^QUIXOTE"
PASSWORD = "correct horse battery"
Come = Callable[[str], Visitor]


class Drip:
    """A hundred connections that send a byte of a header every two seconds, until the page closes them or `over` is set."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        self._url = url
        self.open = [socket.create_connection((host, int(port))) for _ in range(100)]
        self.slowest = 0.0  # seconds that somebody else waited for an answer meanwhile
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._drip)
        self.thread.start()

    def _drip(self) -> None:
        while self.open and not self.over.wait(2):
            for connection in self.open:
                try:
                    connection.send(b"G")
                except OSError:
                    connection.close()
            began = time.monotonic()
            httpx.get(self._url + "theme.css", timeout=20).raise_for_status()
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.open = [connection for connection in self.open if connection.fileno() >= 0]


@pytest.fixture(scope="module")
def drip(server: Any) -> Iterator[Drip]:
    """Goes on while the other tests of this file run."""
    dripping = Drip(server.url)
    yield dripping
    dripping.over.set()
    dripping.thread.join()
    for connection in dripping.open:
        connection.close()


def pack_of(opened: Any) -> str:
    """Address of the volume in what opening a study answered."""
    return f"/{opened[0]['url']}/0/0"


def test_another_visitor_gets_neither_upload_nor_volume_nor_session(come: Come, server: Any, scan: bytes) -> None:
    anna, ben = come(server.url), come(server.url)
    (upload,) = anna.upload((f"{CANARY}.zip", scan))
    pack = pack_of(anna.open("a.zip", scan))
    tool = come(server.url)
    tool.http.cookies.clear()
    strangers = (ben.http, tool.http)
    assert anna.http.get(pack).status_code == anna.http.get(f"/gradio_api/file={upload}").status_code == 200
    for other in strangers:
        assert other.get(pack).status_code == other.get(f"/gradio_api/file={upload}").status_code == 404
        assert other.get("/gradio_api/queue/data", params={"session_hash": anna.session}).status_code == 404
        assert other.get(f"/gradio_api/heartbeat/{anna.session}").status_code == 404
    ben.join("open_upload", [{"path": upload, "meta": {"_type": "gradio.FileData"}}])
    told = [message for message in ben.told() if message["msg"] == "process_completed"][-1]
    assert told["output"]["data"][0] is None
    assert "E_NO_IMAGE" in told["output"]["data"][1]
    assert Path(upload).exists()
    assert anna.http.get(pack).status_code == 200


def test_an_event_in_the_session_of_another_is_refused(come: Come, server: Any) -> None:
    anna = come(server.url)
    anna.ask("note", "Nodule of 2 cm.", "phantom")
    ben = come(server.url)
    ben.session = anna.session
    assert ben.join("wipe").status_code == 200
    (told,) = [message for message in anna.told() if message["msg"] == "process_completed"]
    assert (told["success"], told["output"].get("data")) == (False, None)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/openapi.json", "/gradio_api/runs", "/gradio_api/run-history/records", "/gradio_api/deep_link?session_hash=a",
        "/monitoring", "/monitoring/summary", "/docs", "/redoc", "/openapi.json", "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/file=http://127.0.0.1:1/", "/gradio_api/file=/etc/passwd", "/gradio_api/file=../../etc/passwd",
        "/gradio_api/file=%2e%2e/%2e%2e/etc/passwd", "/gradio_api/file=/proc/self/environ", "/gradio_api/file=file:///etc/passwd",
        "/static/..%2f..%2fconfig", "/assets/../../../etc/passwd", "/gradio_api/medmm/volume/../../etc/passwd",
        "/gradio_api/medmm/volume/x/0/0", "/custom_component/1/client/component/a.js", "/gradio_api/vibe-code/",
    ],
)  # fmt: skip
def test_what_a_page_with_patients_does_not_need_is_not_there(server: Any, path: str) -> None:
    reply = httpx.get(server.url.rstrip("/") + path)
    assert reply.status_code in (403, 404)
    assert "root:" not in reply.text


def test_every_answer_has_the_headers_and_names_no_server(server: Any) -> None:
    for path in ("", "config", "theme.css", "gradio_api/info", "nowhere", "gradio_api/runs"):
        headers = httpx.get(server.url + path).headers
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert "object-src 'none'" in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}])
def test_other_sites_are_refused_by_the_served_page(server: Any, headers: dict[str, str]) -> None:
    for path in ("", "config", "gradio_api/queue/data?session_hash=a"):
        assert httpx.get(server.url + path, headers=headers).status_code in (403, 421)
    assert httpx.post(server.url + "gradio_api/upload", headers=headers, files={"files": b"1"}).status_code in (403, 421)


def test_wrong_requests_get_no_answer_of_500_and_are_not_written_down(come: Come, server: Any) -> None:
    anna = come(server.url)
    for data in (
        [],
        [None] * 9,
        [CANARY] * 5,
        [{"path": f"/{CANARY}"}],
        [[{"path": f"/{CANARY}", "meta": {"_type": "gradio.FileData"}}]],
    ):
        for event in ("answer", "open_upload", "describe", "choose_series", "what_if", "dictate"):
            assert anna.join(event, *data).status_code < 500
    for body in (b"", b"{", b"[]", b'{"data": 1}', b"\xff\xfe", b'{"fn_index": 1e99, "data": []}', CANARY.encode()):
        for route in ("queue/join", "call/answer", "run/answer", "cancel", "reset", "component_server", "upload", "stream/x"):
            reply = anna.http.post(f"/gradio_api/{route}", content=body, headers={"content-type": "application/json"})
            assert reply.status_code != 500, (route, body)
    list(anna.told())
    assert "CANARY" not in server.said.read_text()


def planted(scan: bytes, folder: Path, text: str) -> bytes:
    """The scan with a text in the elements of its headers that say what it is, and in its file names."""
    with zipfile.ZipFile(Path(shutil.copy(examples()[-1].path, folder / "scan.zip"))) as source:
        source.extractall(folder / "files")
    target = folder / "planted.zip"
    with zipfile.ZipFile(target, "w") as written:
        for index, file in enumerate(sorted(p for p in (folder / "files").rglob("*") if p.is_file())):
            dataset = pydicom.dcmread(file)
            for keyword in (
                "PatientName",
                "StudyDescription",
                "SeriesDescription",
                "ProtocolName",
                "Manufacturer",
                "StudyComments",
            ):
                setattr(dataset, keyword, text)
            dataset.save_as(folder / "slice")
            written.write(folder / "slice", f"{text.replace('/', '')}{index}")
    return target.read_bytes()


def test_markup_in_headers_names_and_notes_is_text(visit: Any, scan: bytes, tmp_path: Path) -> None:
    markup = "<img src=x onerror=window.__x++>"
    file = tmp_path / f"{markup}.zip"
    file.write_bytes(planted(scan, tmp_path, markup))
    visit.upload(file)
    visit.wait_for_scan()
    visit.page.fill("#note textarea", f"{markup}</textarea><script>window.__x=2</script>{{{{window.__x=3}}}}${{window.__x=4}}")
    visit.run()
    visit.page.wait_for_timeout(500)
    assert visit.page.evaluate("window.__x") is None
    assert visit.page.locator("img[src=x]").count() == 0
    assert visit.console == []


def begin_upload(url: str) -> socket.socket:
    """Send a part of a file and no more; closing what is returned breaks it off."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    connection = socket.create_connection((host, int(port)))
    head = ["POST /gradio_api/upload HTTP/1.1", f"Host: {host}", "Content-Length: 9999999"]
    form = ["Content-Type: multipart/form-data; boundary=b", "", "--b", 'Content-Disposition: form-data; name="f"; filename="a"']
    connection.sendall("\r\n".join([*head, *form, "", "x" * 100_000]).encode())
    return connection


@dataclass
class Restarted:
    """A page that was started after another was killed: what was on disk then, and the address of a volume of then."""

    page: Any
    before: set[Path]
    pack: str


@pytest.fixture(scope="module")
def restarted(serve: Callable[..., Any], scan: bytes, tmp_path_factory: pytest.TempPathFactory) -> Restarted:
    """Killed while twenty uploads are under way, one waits and a study is open."""
    temp = tmp_path_factory.mktemp("restarted") / "temp"
    first = serve(temp)
    anna = Visitor(first.url)
    pack = pack_of(anna.open("a.zip", scan))
    anna.upload(("b", b"waits"))
    anna.close()
    known = len(first.files())
    with ExitStack() as under_way:
        for _ in range(20):
            under_way.enter_context(begin_upload(first.url))
        wait_until(lambda: len(first.files()) == known + 20)
        first.stop(signal.SIGKILL)
    before = set(first.files())
    return Restarted(serve(temp), before, pack)


def test_after_a_kill_during_uploads_nothing_of_before_is_served_or_kept(restarted: Restarted) -> None:
    assert len(restarted.before) > 20
    assert httpx.get(restarted.page.url.rstrip("/") + restarted.pack).status_code == 404
    assert restarted.before & set(restarted.page.files()) == set()


def test_a_name_in_everything_sent_is_neither_said_nor_kept(come: Come, restarted: Restarted, scan: bytes, tmp_path: Path) -> None:
    running = restarted.page
    anna = come(running.url)
    anna.open(f"{CANARY}.zip", planted(scan, tmp_path, CANARY))
    anna.ask("answer", None, f"Nodule in {CANARY}.", "phantom", None, None)
    sound = anna.upload((f"{CANARY}.wav", b"RIFF"))[0]
    anna.ask("dictate", {"path": sound, "meta": {"_type": "gradio.FileData"}}, "", None)
    kept = [
        file for file in running.temp.rglob("*") if "CANARY" in file.name or (file.is_file() and b"CANARY" in file.read_bytes())
    ]
    running.stop()
    assert kept == []
    assert running.files() == []
    assert "CANARY" not in running.said.read_text()


@pytest.fixture(scope="module")
def locked(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A page that asks for a login."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, f"anna:salt:{hashed(PASSWORD, 'salt')}")
        return serve(tmp_path_factory.mktemp("locked") / "temp")


def test_every_route_asks_for_the_login(locked: Any) -> None:
    paths = [
        "config",
        "gradio_api/info",
        "gradio_api/app_id",
        "theme.css",
        "gradio_api/medmm/volume/x",
    ]
    for path in [
        *paths,
        "gradio_api/heartbeat/x",
        "gradio_api/queue/data?session_hash=x",
        "gradio_api/upload_progress",
        "robots.txt",
    ]:
        assert httpx.get(locked.url + path).status_code == 401, path
    for path in ("upload", "queue/join", "cancel", "reset", "component_server", "call/answer"):
        assert httpx.post(f"{locked.url}gradio_api/{path}", json={}).status_code == 401, path


def test_a_person_logs_in_on_the_page(locked: Any, chromium: Any) -> None:
    page = chromium.new_page()
    page.goto(locked.url)
    page.fill("#u", "anna")
    page.fill("#p", PASSWORD)
    page.click("button")
    page.wait_for_selector("#run", timeout=30_000)
    kinds = {cookie["name"]: (cookie["httpOnly"], cookie["sameSite"]) for cookie in page.context.cookies()}
    page.close()
    assert kinds == {"medmm_login": (True, "Strict"), "medmm_visitor": (True, "Strict")}


def test_other_machines_are_not_let_in_without_login() -> None:
    environment = {k: v for k, v in os.environ.items() if k not in (VARIABLE, "SPACE_ID")}
    command = [sys.executable, "-m", "medmm", "demo", "--host", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert done.returncode == 2
    assert "--without-login" in done.stderr


def test_who_drips_headers_is_let_go_while_others_are_served(drip: Drip) -> None:
    drip.thread.join(30)
    assert drip.open == []
    assert drip.slowest < 9  # who is held is let go after ten
