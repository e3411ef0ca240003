"""One language for a whole page: the browser's, or the one chosen on it, told to Gradio before it starts."""

from __future__ import annotations

from urllib.parse import parse_qs

import gradio as gr

from medmm.ui.asgi import App, Receive, Scope, Send
from medmm.ui.words import TAGS, WORDS, Language, language_of

IN_BROWSER = gr.I18n(en=WORDS["en"], zh=WORDS["zh"])
_BEFORE = b"</head>"


def label(key: str) -> str:
    """A label, button or placeholder, put into words by the browser."""
    assert key in WORDS["en"], key
    return str(IN_BROWSER(key))


def language(request: gr.Request) -> Language:
    """The language of the page that an event comes from."""
    return language_of(request.query_params.get("lang"), request.headers.get("accept-language"))


class Speaker:
    """ASGI middleware: tells the page which language it speaks.

    Gradio's own words follow `navigator.language`, which no server and no setting of it can choose; a line of
    script in the page itself can, before Gradio reads it.

    Args:
        app: The application behind.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] not in ("", "/"):
            await self._app(scope, receive, send)
            return
        script = _script(_spoken(scope))
        start: Scope = {}
        body = bytearray()

        async def told(message: Scope) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                content = bytes(body).replace(_BEFORE, script + _BEFORE, 1)
                kept = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
                await send({**start, "headers": [*kept, (b"content-length", str(len(content)).encode())]})
                await send({"type": "http.response.body", "body": content})

        await self._app(scope, receive, told)


def _spoken(scope: Scope) -> Language:
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("lang", [None])[0]
    accepted = next((v.decode("latin-1") for k, v in scope["headers"] if k.lower() == b"accept-language"), None)
    return language_of(asked, accepted)


def _script(spoken: Language) -> bytes:
    tag = TAGS[spoken]
    get = f'{{get: () => "{tag}"}}'
    return f'<script>document.documentElement.lang = "{tag}"; Object.defineProperty(navigator, "language", {get})</script>'.encode()
