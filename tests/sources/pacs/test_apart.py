"""Archives that are hostile to whoever parses what they say, asked by a process that can be spared."""

from __future__ import annotations

import os
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from medmm.errors import BudgetError, InputError, MedmmError, RemoteError, StoreError
from medmm.sources.pacs import apart
from medmm.sources.pacs.apart import Service
from medmm.sources.pacs.pull import FoundStudy, Query
from tests.web import Answer, say

STUDY = b"""[{"0020000D": {"vr": "UI", "Value": ["1.2.77"]}, "00080020": {"vr": "DA", "Value": ["20240131"]},
"00080061": {"vr": "CS", "Value": ["CT", "SR"]}, "00201208": {"vr": "IS", "Value": [9]},
"00100010": {"vr": "PN", "Value": [{"Alphabetic": "SECRET^NAME"}]}}]"""


def _service(url: str) -> Service:
    return Service("dicomweb", {"url": url})


def test_studies_are_found_by_another_process(serve: Callable[[Answer], str]) -> None:
    found = apart.find(_service(serve(say(200, STUDY))), Query(patient="X"), 5)
    assert found == [FoundStudy("1.2.77", "20240131", ("CT", "SR"), "", 9)]


def test_credentials_reach_it_through_the_environment(serve: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDMM_PACS_TOKEN", "abc")
    seen = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers.get("Authorization"))
        say(200, b"[]")(request)

    assert apart.find(_service(serve(answer)), Query(), 5) == []
    assert seen == ["Bearer abc"]


def test_an_answer_that_fills_the_memory_costs_the_child_alone(
    serve: Callable[[Answer], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = tmp_path / "sitecustomize.py"  # the same process with little memory to spare
    limits.write_text("import medmm.settings as s, dataclasses\ns.LIMITS = dataclasses.replace(s.LIMITS, memory_bytes=700 << 20)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    many = b"[" + b"{}," * 15_000_000 + b"{}]"  # 45 MB that become more than a gigabyte
    with pytest.raises(BudgetError) as caught:
        apart.pull(_service(serve(say(200, many))), "1.2.77", tmp_path / "out")
    assert "127.0.0.1" not in caught.value.message
    assert not (tmp_path / "out").exists()


def test_silence_ends_in_time(serve: Callable[[Answer], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_GRACE", 1.0)

    def asleep(request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(1)

    with pytest.raises(MedmmError) as caught:
        apart.pull(_service(serve(asleep)), "1.2.77", tmp_path / "out", seconds=1)
    assert caught.value.code in ("E_BUDGET", "E_WORKER")
    assert [f.name for f in tmp_path.iterdir()] == []


def test_errors_keep_their_kind(serve: Callable[[Answer], str], tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="HTTP 500"):
        apart.pull(_service(serve(say(500))), "1.2.77", tmp_path / "out")
    with pytest.raises(InputError, match="titles of 1 to 16"):
        apart.find(Service("dimse", {"host": "127.0.0.1", "port": 9, "called": ""}), Query(), 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(StoreError):
        apart.pull(_service("http://127.0.0.1:9/"), "1.2.77", tmp_path / "out")
