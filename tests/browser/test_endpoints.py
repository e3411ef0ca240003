"""What programs call: the documented example against a real server, and every way in that is offered to them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from medmm.prediction import DISCLAIMER

pytestmark = pytest.mark.browser  # for the server

DOCS = Path(__file__).parents[2] / "docs" / "serving.md"
PUBLIC = ["/models", "/predict"]
NOTE = "59-year-old male with a soft-tissue sarcoma of the left thigh. Grade: high."


@pytest.fixture(scope="module")
def open_server(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A page that is an MCP server too, and describes itself."""
    return serve(tmp_path_factory.mktemp("open"), "-m", "medmm", "demo", "--port", "{port}", "--mcp", "--openapi")


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[Client]:
    made = Client(server.url, verbose=False)
    yield made
    made.close()


def test_the_documented_example_runs(
    server: Any, patient_zip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8").partition("## For programs")[2], re.DOTALL)
    assert code is not None
    shutil.copyfile(patient_zip, tmp_path / "ct.zip")
    monkeypatch.chdir(tmp_path)
    before = set(server.files())
    names: dict[str, Any] = {}
    exec(code[1].replace("http://127.0.0.1:7860/", server.url), names)  # the documentation's own words
    assert sum(names["answer"]["probabilities"].values()) == pytest.approx(1)
    assert names["answer"]["modalities"] == ["image", "text"]
    assert names["answer"]["disclaimer"] == DISCLAIMER
    said = capsys.readouterr().out
    assert "sts51 [" in said
    assert DISCLAIMER in said
    assert set(server.files()) <= before  # nothing of it is left
    names["page"].close()


def test_files_one_by_one_are_one_study_as_the_zip_is(client: Client, patient_zip: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(patient_zip, tmp_path)
    files = [handle_file(file) for file in sorted(tmp_path.rglob("*")) if file.is_file()]
    together = client.predict(study=files, note=NOTE, model="sts51", api_name="/predict")
    zipped = client.predict(study=[handle_file(patient_zip)], note=NOTE, model="sts51", api_name="/predict")
    assert together["geometry"] == zipped["geometry"]
    assert together["probabilities"] == zipped["probabilities"]


def test_two_questions_of_one_program_at_a_time_do_not_meet(client: Client, patient_zip: Path) -> None:
    with_scan = client.submit(study=[handle_file(patient_zip)], note=NOTE, api_name="/predict")
    alone = client.submit(note=NOTE, api_name="/predict")
    assert alone.result()["modalities"] == ["text"]
    assert with_scan.result()["modalities"] == ["image", "text"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({}, "E_MISSING_MODALITY"),
        ({"note": NOTE, "model": "SECRET"}, "E_MODEL_INTEGRITY"),
        ({"note": NOTE, "values": {"SECRET": "1"}}, "E_VALUES"),
        ({"study": ["/etc/hostname"]}, "E_NO_IMAGE"),
        ({"study": [{"path": "http://127.0.0.1/ct.zip", "meta": {"_type": "gradio.FileData"}}]}, "E_INPUT"),
        ({"study": [1]}, "E_INPUT"),
        ({"study": 1}, "E_INPUT"),
        ({"note": {"a": 1}}, "E_INPUT"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_code(client: Client, asked: dict[str, Any], code: str) -> None:
    with pytest.raises(AppError, match=code) as caught:
        client.predict(**asked, api_name="/predict")
    assert "hostname" not in str(caught.value)


def test_only_the_public_endpoints_are_told_of(server: Any, open_server: Any) -> None:
    for url in (server.url, open_server.url):
        told = httpx.get(f"{url}gradio_api/info").json()
        assert sorted(told["named_endpoints"]) == PUBLIC
        assert told["unnamed_endpoints"] == {}
    types = {p["parameter_name"]: p["python_type"]["type"] for p in told["named_endpoints"]["/predict"]["parameters"]}
    assert set(types) == {"study", "note", "values", "model", "series", "repair"}
    assert all("str" in name for name in types.values())
    assert httpx.get(f"{server.url}gradio_api/openapi.json").status_code == 404
    described = httpx.get(f"{open_server.url}gradio_api/openapi.json")
    assert {re.sub(r"call/(v2/)?|/{event_id}", "", path) for path in described.json()["paths"]} == {
        "/gradio_api/models", "/gradio_api/predict", "/gradio_api/upload",
    }  # fmt: skip
    for url in (server.url, open_server.url):
        assert httpx.get(f"{url}openapi.json").status_code == 404
        assert httpx.get(f"{url}gradio_api/mcp/sse").status_code == 404
    assert httpx.post(f"{server.url}gradio_api/mcp/", json={}).status_code in (404, 405)


def test_an_mcp_client_finds_two_tools_and_gets_the_same_answer(open_server: Any, patient_zip: Path) -> None:
    async def use() -> tuple[list[str], dict[str, Any], str, Any]:
        address = f"{open_server.url}gradio_api/mcp/"
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            tools = [tool.name for tool in (await session.list_tools()).tools]
            upload = httpx.post(f"{open_server.url}gradio_api/upload", files={"files": ("ct.zip", patient_zip.read_bytes())})
            answered = await session.call_tool("predict", {"study": upload.json(), "note": NOTE, "model": "sts51"})
            refused = await session.call_tool("predict", {"study": ["/etc/hostname"]})
            return tools, json.loads(answered.content[0].text), refused.content[0].text, refused.isError

    with ThreadPoolExecutor(1) as apart:  # the browser of other tests has a loop in this thread
        tools, answer, refusal, is_error = apart.submit(asyncio.run, use()).result()
    assert sorted(tools) == ["models", "predict"]
    assert answer["modalities"] == ["image", "text"]
    assert answer["disclaimer"] == DISCLAIMER
    assert is_error
    assert "E_NO_IMAGE" in refusal


def test_what_a_program_no_longer_waits_for_is_given_up(server: Any, client: Client) -> None:
    client.predict(note=NOTE, api_name="/predict")  # the model is at hand
    children = psutil.Process(server.process.pid).children(recursive=True)
    model = next(child for child in children if child.cmdline()[-2:] == ["medmm.ui.tasks", "model"])
    handlers = {d["api_name"]: d["id"] for d in httpx.get(f"{server.url}config").json()["dependencies"]}
    asked = {"data": [None, NOTE, None, None, None, None], "fn_index": handlers["predict"], "session_hash": "gone"}
    model.suspend()  # certainly at work when nobody waits any more
    with httpx.stream("GET", f"{server.url}gradio_api/heartbeat/gone"):  # as Gradio's client holds it while it lives
        assert httpx.post(f"{server.url}gradio_api/queue/join", json=asked).status_code == 200
        time.sleep(1)
    model.wait(10)  # it is ended, as it would not stop
    assert client.predict(note=NOTE, api_name="/predict")["modalities"] == ["text"]
