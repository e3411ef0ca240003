"""One language for a whole page: the browser's, or the one chosen on it, told to Gradio before it starts."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

import gradio as gr

from medmm.ui.asgi import App, Receive, Scope, Send
from medmm.ui.words import TAGS, WORDS, Language, language_of

_OURS = "medmm_words_"  # the browser also translates choices: a model's folder may be called what a bare key is, as `model`
IN_BROWSER = gr.I18n(**{spoken: {_OURS + key: said for key, said in words.items()} for spoken, words in WORDS.items()})
_HEAD_ENDS, _GRADIO = b"</head>", b"<gradio-app"

Greeting = Callable[[Language], str]


def label(key: str) -> str:
    """A label, button or placeholder, put into words by the browser."""
    assert key in WORDS["en"], key
    return str(IN_BROWSER(_OURS + key))


def language(request: gr.Request) -> Language:
    """The language of the page that an event comes from."""
    return language_of(request.query_params.get("lang"), request.headers.get("accept-language"))


class Speaker:
    """ASGI middleware: tells the page which language it speaks, and lets it say something before Gradio is there.

    Gradio's own words follow `navigator.language`, which no server and no setting of it can choose; a line of
    script in the page itself can, before Gradio reads it.

    Args:
        app: The application behind.
        greet: HTML in a language, shown from the first moment; it must hide itself when Gradio's page is there.
    """

    def __init__(self, app: App, greet: Greeting = lambda _: "") -> None:
        self._app, self._greet = app, greet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] not in ("", "/"):
            await self._app(scope, receive, send)
            return
        spoken = _spoken(scope)
        script, greeting = _script(spoken), self._greet(spoken).encode()
        start: Scope = {}
        body = bytearray()

        async def told(message: Scope) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                content = bytes(body).replace(_HEAD_ENDS, script + _HEAD_ENDS, 1)
                content = content.replace(_GRADIO, greeting + _GRADIO, 1)
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
