from __future__ import annotations

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from medmm.errors import InputError, MedmmError, NoImageError, RemoteError, TooLargeError
from medmm.settings import LIMITS
from medmm.sources.pacs.dicomweb import DicomWeb
from medmm.sources.pacs.pull import Query, pull
from tests.web import Answer, say

LIST = b'[{"00080018": {"vr": "UI", "Value": ["1.2.3"]}, "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]}}]'


def _listing_then(stream: Callable[[BaseHTTPRequestHandler], None]) -> Answer:
    """List one instance, then send the study as this stream does."""
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        if "instances" in request.path:
            asked.append(request.path)
            say(200, LIST if len(asked) == 1 else b"[]")(request)
            return
        request.send_response(200)
        request.send_header("Content-Type", 'multipart/related; type="application/dicom"; boundary=x')
        request.end_headers()
        stream(request)

    return answer


@pytest.mark.parametrize(
    ("answer", "leaf", "saying"),
    [
        (say(401), RemoteError, "HTTP 401.*MEDMM_PACS_TOKEN"),
        (say(403), RemoteError, "HTTP 403"),
        (say(404), NoImageError, "HTTP 404"),
        (say(500), RemoteError, "HTTP 500"),
        (say(200, b"<html>SECRET</html>", "text/html"), RemoteError, r"DICOMweb answers"),
        (say(200, b"[1]"), RemoteError, "DICOMweb answers"),
        (say(302, location="http://127.0.0.1:9/other"), RemoteError, "sends us elsewhere"),
    ],
)
def test_every_failure_is_typed_and_tells_nothing(
    serve: Callable[[Answer], str], tmp_path: Path, answer: Answer, leaf: type[MedmmError], saying: str
) -> None:
    url = serve(answer)
    with pytest.raises(leaf, match=saying) as caught:
        pull(DicomWeb(url), "1.2.77", tmp_path / "out")
    assert [word for word in ("127.0.0.1", "1.2.77", "SECRET", str(tmp_path)) if word in caught.value.message] == []
    assert caught.value.__cause__ is None
    assert list(tmp_path.iterdir()) == []


def test_nobody_there() -> None:
    with pytest.raises(RemoteError, match="cannot be reached"):
        DicomWeb("http://127.0.0.1:9/dicom-web").find(Query(), 1)


def test_a_stream_without_end_is_cut(serve: Callable[[Answer], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medmm.sources.pacs.dicomweb.LIMITS", type(LIMITS)(total_bytes=4 << 20))

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"--x\r\nContent-Type: application/dicom\r\n\r\n")
        while True:
            request.wfile.write(bytes(1 << 20))

    with pytest.raises(TooLargeError, match="at most 4 MB"):
        pull(DicomWeb(serve(_quietly(_listing_then(endless)))), "1.2.77", tmp_path / "out")


def test_a_trickle_is_cut(serve: Callable[[Answer], str], tmp_path: Path) -> None:
    def trickle(request: BaseHTTPRequestHandler) -> None:
        for _ in range(200):
            request.wfile.write(bytes(1 << 20))
            request.wfile.flush()
            time.sleep(0.05)

    with pytest.raises(RemoteError, match="within the time limit"):
        pull(DicomWeb(serve(_quietly(_listing_then(trickle))), seconds=0.5), "1.2.77", tmp_path / "out")


def _quietly(answer: Answer) -> Answer:
    def until_hung_up(request: BaseHTTPRequestHandler) -> None:
        try:
            answer(request)
        except OSError:
            request.close_connection = True

    return until_hung_up


@pytest.mark.parametrize(
    ("url", "saying"),
    [
        ("pacs.example.org", "Expected the URL"),
        ("file:///etc/passwd", "Expected the URL"),
        ("https://me:secret@pacs.example.org/", "without credentials"),
        ("http://pacs.example.org/dicom-web", "https where credentials are sent"),
    ],
)
def test_unsafe_addresses(monkeypatch: pytest.MonkeyPatch, url: str, saying: str) -> None:
    monkeypatch.setenv("MEDMM_PACS_TOKEN", "secret")
    with pytest.raises(InputError, match=saying) as caught:
        DicomWeb(url)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({"MEDMM_PACS_TOKEN": "abc"}, "Bearer abc"),
        ({"MEDMM_PACS_USER": "me", "MEDMM_PACS_PASSWORD": "pw"}, "Basic bWU6cHc="),
        ({}, None),
    ],
)
def test_credentials_come_from_the_environment_alone(
    serve: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], header: str | None
) -> None:
    seen = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers.get("Authorization"))
        say(200, b"[]")(request)

    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert DicomWeb(serve(answer)).find(Query(patient="X"), 5) == []
    assert seen == [header]
