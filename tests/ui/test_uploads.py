"""Files come in under random names, counted while they come, and go out to their owner alone."""

from __future__ import annotations

import json
import shutil
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from medmm.ui import uploads
from medmm.ui.uploads import Uploads
from medmm.ui.visitor import VisitorCookie, Visitors
from tests.visitors import wait_until

Come = Callable[[], httpx.Client]
NAME = "SECRET^Patient 1970"


async def page(_: Request) -> Response:
    return PlainTextResponse("page")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def come(serve: Callable[[Any], Come], root: Path) -> Come:
    visitors = Visitors()
    routes = [*Uploads(root, visitors).routes(), Route("/", page)]
    visitor = serve(Starlette(routes=routes, middleware=[Middleware(VisitorCookie, visitors=visitors)]))

    def introduced() -> httpx.Client:
        client = visitor()
        client.get("/")
        return client

    return introduced


def send(visitor: httpx.Client, *files: tuple[str, bytes]) -> httpx.Response:
    return visitor.post("/gradio_api/upload", files=[("files", file) for file in files])


def stored(root: Path) -> list[Path]:
    return [file for file in root.rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    "name", [f"{NAME}.dcm", "../../evil", "/etc/evil", "a\\..\\b", "", "a\x00b", "é" * 200, '"><script>', "x.wav\n.exe"]
)
def test_a_name_is_never_on_disk(come: Come, root: Path, name: str) -> None:
    found = send(come(), (name or "a", b"voxels"))
    assert found.status_code == 200
    (file,) = map(Path, found.json())
    assert stored(root) == [file]
    assert (file.name, file.read_bytes(), file.parent.parent) == ("00000", b"voxels", root)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_equal_files_of_two_visitors_lie_apart(come: Come) -> None:
    assert send(come(), ("a", b"same")).json() != send(come(), ("a", b"same")).json()


def test_a_file_is_handed_to_who_sent_it_and_to_nobody_else(come: Come) -> None:
    anna, ben = come(), come()
    (path,) = send(anna, (f"{NAME}.wav", b"RIFF")).json()
    found = anna.get(f"/gradio_api/file={path}")
    assert (found.status_code, found.content, found.headers["content-type"]) == (200, b"RIFF", "audio/wav")
    assert NAME not in str(found.headers)
    ben.cookies.set("medmm_visitor", "a" * 32, domain="127.0.0.1")
    stranger = come()
    stranger.cookies.clear()
    for other in (ben, stranger):
        assert other.get(f"/gradio_api/file={path}").status_code == 404
        assert other.head(f"/gradio_api/file={path}").status_code == 404


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.wav.html"])
def test_what_a_browser_could_run_is_handed_out_as_bytes(come: Come, name: str) -> None:
    anna = come()
    (path,) = send(anna, (name, b"<script>")).json()
    found = anna.get(f"/gradio_api/file={path}")
    assert found.headers["content-type"] == "application/octet-stream"
    assert found.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../etc/passwd", "{root}/../x", "http://127.0.0.1/", "file:///etc/passwd", "", "{root}"]
)
def test_no_other_file_is_handed_out(come: Come, root: Path, path: str) -> None:
    anna = come()
    send(anna, ("a", b"1"))
    assert anna.get("/gradio_api/file=" + path.format(root=root)).status_code == 404


def test_size_and_number_are_counted_over_all_that_waits(come: Come, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_FILE", 1000)
    monkeypatch.setattr(uploads, "MAX_VISITOR", 2500)
    anna = come()
    assert send(anna, ("a", bytes(1001))).status_code == 413
    assert send(anna, *[("a", bytes(900))] * 3).status_code == 413
    assert stored(root) == []
    assert list(root.iterdir()) == []
    assert [send(anna, ("a", bytes(1000))).status_code for _ in range(3)] == [200, 200, 413]
    assert send(come(), ("a", bytes(1000))).status_code == 200  # another visitor has room of his own
    assert len(stored(root)) == 3


def test_what_has_been_taken_away_no_longer_counts(come: Come, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_VISITOR", 1000)
    anna = come()
    for _ in range(3):
        sent = send(anna, ("a", bytes(900)))
        assert sent.status_code == 200
        shutil.rmtree(Path(sent.json()[0]).parent)
    assert list(root.iterdir()) == []


def test_uploads_at_the_same_moment_share_what_one_visitor_may_send(
    come: Come, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_VISITOR", 2500)
    anna, others = come(), come()
    kind = {"content-type": "multipart/form-data; boundary=b"}
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"x" * 2000
    statuses: list[int] = []

    def body() -> Iterator[bytes]:
        yield part
        wait_until(lambda: len(list(root.iterdir())) == 1)  # it is under way
        statuses.append(send(anna, ("a", bytes(600))).status_code)
        statuses.append(send(anna, ("a", bytes(400))).status_code)
        statuses.append(send(others, ("a", bytes(2000))).status_code)
        yield b"\r\n--b--\r\n"

    assert anna.post("/gradio_api/upload", content=body(), headers=kind).status_code == 200
    assert statuses == [413, 200, 200]
    assert send(anna, ("a", bytes(101))).status_code == 413
    assert send(anna, ("a", bytes(100))).status_code == 200


def test_uploads_leave_room_on_the_disk(come: Come, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_KEPT_FREE", 1 << 62)
    refused = send(come(), ("a", b"1"))
    assert (refused.status_code, "Try again later" in refused.text) == (507, True)
    assert list(root.iterdir()) == []


def test_a_thousand_small_files_are_taken_and_too_many_are_not(come: Come, root: Path) -> None:
    anna = come()
    found = send(anna, *[(f"{i}.dcm", b"%d" % i) for i in range(1000)])
    assert [Path(path).read_bytes() for path in found.json()] == [b"%d" % i for i in range(1000)]
    assert send(anna, *[("a", b"")] * 5001).status_code == 413
    assert len(stored(root)) == 1000


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"x"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=b", b"no form"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\ncut'),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"A" * 100_000),
        ("multipart/form-data; boundary=" + "b" * 10_000, b"x"),
    ],
)
def test_what_is_no_whole_form_is_refused_and_leaves_nothing(come: Come, root: Path, kind: str, body: bytes) -> None:
    assert come().post("/gradio_api/upload", content=body, headers={"content-type": kind}).status_code == 400
    assert list(root.iterdir()) == []


def test_a_field_that_is_no_file_is_not_kept(come: Come, root: Path) -> None:
    found = come().post("/gradio_api/upload", data={"note": NAME}, files=[("files", ("a", b"1"))])
    assert len(found.json()) == len(stored(root)) == 1


def test_a_disconnect_in_the_middle_leaves_nothing(come: Come, root: Path) -> None:
    address = come().base_url
    lines = ["POST /gradio_api/upload HTTP/1.1", "Host: a", "Content-Length: 9999", "Content-Type: multipart/form-data; boundary=b"]
    head = "\r\n".join([*lines, "", ""]).encode()
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"x" * 5000
    with socket.create_connection((address.host, address.port or 0)) as connection:
        connection.sendall(head + part)
        wait_until(lambda: bool(stored(root)))
    wait_until(lambda: not list(root.iterdir()))


def test_progress_is_told_while_the_upload_comes_and_then_ends(come: Come) -> None:
    anna, heard = come(), threading.Event()
    form = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield form + b"x" * 1000
        assert heard.wait(10)
        yield b"x" * 500 + b"\r\n--b--\r\n"

    def upload() -> None:
        kind = {"content-type": "multipart/form-data; boundary=b"}
        assert come().post("/gradio_api/upload?upload_id=u", content=body(), headers=kind).status_code == 200

    sending = threading.Thread(target=upload)
    sending.start()
    told = []
    with anna.stream("GET", "/gradio_api/upload_progress?upload_id=u") as events:
        for line in filter(None, events.iter_lines()):
            told.append(json.loads(line.removeprefix("data: ")))
            heard.set()
    sending.join(10)
    assert told[0]["msg"] == "update"
    assert (told[0]["orig_name"], 0 < told[0]["chunk_size"] <= 1000, told[-1]) == ("a", True, {"msg": "done"})
