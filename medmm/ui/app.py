"""The page as a whole: what is around the tabs, and the tabs."""

from __future__ import annotations

from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from medmm.errors import MedmmError
from medmm.ui import endpoints, views
from medmm.ui.batches import BATCH_ROUTE, FILES
from medmm.ui.blocks import STATIC, GuardedBlocks
from medmm.ui.pack import read_chunk
from medmm.ui.page import PACK_ROUTE, Page
from medmm.ui.speech import Greeting, label
from medmm.ui.tabs import about, batch, evaluation, study
from medmm.ui.visitor import visitor_of
from medmm.ui.words import TAGS, Language, say

TABS = {
    "tab_study": study.build,
    "tab_batch": batch.build,
    "tab_evaluation": evaluation.build,
    "tab_about": about.build,
}
"""Key of each tab's name, and what lays it out inside and wires it, given the page and its Blocks."""

_WAITING = 128  # events in the line: of everybody who may have a study open, and some more
_LANGUAGES = ((TAGS["en"], "English"), (TAGS["zh"], "中文"))
_MOUNTED = ("#upload", "#beside", "#note", "#dictation", "#model", "#run", "#answer")
"""Parts of the first tab that Gradio puts in one after the other, each below the ones before; they are shown together."""
_GREETING_STYLE = """
#mm-greeting { position: absolute; inset: 0 0 auto; padding: 1rem 2rem; font: 16px/1.5 system-ui, sans-serif; color: #1f2937; }
#mm-greeting h1 { font-size: 1.6rem; margin: .4rem 0 1rem; }
@media (prefers-color-scheme: dark) { #mm-greeting { color: #f3f4f6; } }
body%(whole)s #mm-greeting { display: none; }
body:not(%(whole)s) gradio-app { visibility: hidden; }
"""
_KEEP_REST_OF_ADDRESS = """
for (const link of element.querySelectorAll('a')) {
  const address = new URL(location.href);
  address.searchParams.set('lang', link.lang);
  link.href = address.href;
  if (document.documentElement.lang === link.lang) link.setAttribute('aria-current', 'true');
}
"""


def layout(page: Page) -> GuardedBlocks:
    """The page as Blocks."""
    routes = [_volume_route(page), _viewer_route(), _batch_route(page)]
    styles = ["page.css", "viewer.css", "runs.css", "tabs.css"]
    blocks = GuardedBlocks("medmm", page.close, styles, routes, lambda: _be_public(page), page.sessions.visitors, _greeting(page))
    with blocks:
        with gr.Row(elem_classes="mm-head"):
            gr.Markdown("# medmm")
            gr.HTML(_languages(), js_on_load=_KEEP_REST_OF_ADDRESS, elem_id="languages")
        gr.HTML(f"<p>{label('promise')}</p>")
        gr.HTML(views.banner(label("banner")))
        with gr.Tabs():
            for name, build in TABS.items():
                with gr.Tab(label(name), elem_id=name):
                    build(page, blocks)
        endpoints.build(page)
        blocks.unload(_wipe(page))
    blocks.queue(max_size=_WAITING, default_concurrency_limit=2, api_open=False)
    return blocks


def _greeting(page: Page) -> Greeting:
    """The head of the page while Gradio puts the rest together, which is shown when it is whole."""
    parts = [*_MOUNTED, ".mm-example"] if page.examples else _MOUNTED
    style = _GREETING_STYLE % {"whole": "".join(f":has({part})" for part in parts)}

    def greet(spoken: Language) -> str:
        sentences = "".join(f"<p>{say(spoken, key)}</p>" for key in ("promise", "banner", "phase_"))
        return f'<div id="mm-greeting"><style>{style}</style><h1>medmm</h1>{sentences}</div>'

    return greet


def _languages() -> str:
    """The switch: each language by its own name, as a link to the same page in it."""
    links = "".join(f'<a href="?lang={tag}" lang="{tag}">{name}</a>' for tag, name in _LANGUAGES)
    return f'<nav class="mm-languages" aria-label="Language">{links}</nav>'


def _wipe(page: Page) -> Any:
    def wipe(request: gr.Request) -> None:
        page.leave(str(request.session_hash))

    return wipe


def _be_public(page: Page) -> None:
    page.public = True


def _volume_route(page: Page) -> Route:
    def chunk(request: Request) -> Response:
        asked = request.path_params
        try:
            folder = page.sessions.find(asked["token"], visitor=visitor_of(request.cookies))
            found = read_chunk(folder, asked["level"], asked["chunk"])
        except MedmmError:
            found = None
        if found is None:
            return Response(status_code=404)
        return Response(found, media_type="application/octet-stream", headers={"content-encoding": "gzip"})

    return Route(f"/{PACK_ROUTE}{{token}}/{{level:int}}/{{chunk:int}}", chunk)


def _viewer_route() -> Route:
    """The viewer's modules, which its page loads by name."""
    modules = {file.name: file for folder in ("viewer", "vendor") for file in (STATIC / folder).glob("*.js")}

    def module(request: Request) -> Response:
        file = modules.get(request.path_params["name"])
        return FileResponse(file, media_type="text/javascript") if file else Response(status_code=404)

    return Route("/gradio_api/medmm/viewer/{name}", module)


def _batch_route(page: Page) -> Route:
    def file(request: Request) -> Response:
        name = request.path_params["name"]
        found = page.batches.behind(request.path_params["token"], visitor_of(request.cookies))
        path = found.file(name) if found is not None else None
        return Response(status_code=404) if path is None else FileResponse(path, media_type=FILES[name], filename=name)

    return Route(f"/{BATCH_ROUTE}{{token}}/{{name}}", file)
