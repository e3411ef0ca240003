"""The page is told its language before Gradio starts, and nothing else is changed on the way."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from medmm.ui.speech import Speaker, label

HTML = "<!doctype html><html><head><title>t</title></head><body>é</body></html>"


@pytest.fixture(scope="module")
def client() -> TestClient:
    async def page(_: object) -> HTMLResponse:
        return HTMLResponse(HTML)

    async def other(_: object) -> PlainTextResponse:
        return PlainTextResponse("</head>")

    return TestClient(Speaker(Starlette(routes=[Route("/", page), Route("/other", other)])))


def spoken(response: httpx.Response) -> str:
    assert int(response.headers["content-length"]) == len(response.content)
    head = response.text.partition("</head>")[0]
    return head.partition('get: () => "')[2].partition('"')[0]


@pytest.mark.parametrize(
    ("query", "accepted", "tag"),
    [
        ("", "en", "en"),
        ("", "zh", "zh-CN"),
        ("?lang=zh", "en", "zh-CN"),
        ("?lang=en&x=1", "zh", "en"),
        ("?lang=</script>", "de", "en"),
    ],
)
def test_the_browser_is_told_the_language(client: TestClient, query: str, accepted: str, tag: str) -> None:
    response = client.get("/" + query, headers={"accept-language": accepted})
    assert spoken(response) == tag
    script = response.text.partition("<script>")[2].partition("</script>")[0]
    assert response.text.replace(f"<script>{script}</script>", "") == HTML


def test_a_greeting_in_the_language_stands_before_gradio() -> None:
    async def page(_: object) -> HTMLResponse:
        return HTMLResponse("<html><head></head><body><gradio-app></gradio-app></body></html>")

    greeted = TestClient(Speaker(Starlette(routes=[Route("/", page)]), lambda spoken: f"<h1>{spoken} 掩</h1>"))
    for asked in ("en", "zh"):
        response = greeted.get(f"/?lang={asked}")
        assert f"<body><h1>{asked} 掩</h1><gradio-app></gradio-app></body>" in response.text
        assert int(response.headers["content-length"]) == len(response.content)


def test_other_answers_are_left_alone(client: TestClient) -> None:
    assert client.get("/other").text == "</head>"


def test_a_label_without_words_is_a_mistake_of_ours() -> None:
    assert '_run"' in label("run")
    with pytest.raises(AssertionError):
        label("no such key")
