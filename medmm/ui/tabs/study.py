"""One study: open it, look at it, ask a model, see what would change its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from medmm.errors import MedmmError
from medmm.settings import LIMITS
from medmm.sources.dicom.repair import REPAIRS
from medmm.ui import study_views, views
from medmm.ui.blocks import HIDDEN, STATIC
from medmm.ui.boxes import upload_box
from medmm.ui.page import Page
from medmm.ui.speech import label, language
from medmm.ui.tabs import asking, beside, dictation, values
from medmm.ui.words import say, viewer_words

_HELD = 1800  # seconds that the server remembers what a visitor last saw
_QUICK: dict[str, Any] = {"show_progress": "hidden", **HIDDEN}


@dataclass(slots=True)
class _Parts:
    """The components that events read and write."""

    viewer: gr.HTML
    facts: gr.HTML
    verdict: gr.HTML
    series: gr.Dropdown
    repairs: gr.Group
    repair: list[gr.Checkbox]
    uploads: list[gr.File]
    examples: list[gr.Button]
    note: gr.Textbox
    note_facts: gr.HTML
    model: gr.Dropdown
    about: gr.HTML
    run: gr.Button
    stop: gr.Button
    answer: gr.HTML
    heard: gr.State
    cells: gr.State
    token: gr.State
    seen: gr.State
    beside: gr.HTML
    inspection: gr.State

    @property
    def opened(self) -> list[Any]:
        """What opening a study writes, in the order of `_opened`."""
        chosen = [self.verdict, self.inspection, self.series, self.repairs, self.answer]
        return [self.viewer, self.facts, self.token, self.seen, self.beside, *chosen]


def build(page: Page, blocks: gr.Blocks) -> None:
    """Lay the tab out and wire it."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            viewer = gr.HTML(
                html_template=_static("viewer.html"), js_on_load=_static("viewer.js"), words=viewer_words(), elem_id="viewer"
            )
            facts = gr.HTML(elem_id="facts")
        with gr.Column(scale=2, min_width=320):
            parts = _inputs(page, viewer, facts)
    _wire_opening(page, parts)
    _wire_note(page, parts, blocks)
    asking.build(
        page,
        asking.Form(parts.token, parts.note, parts.model, parts.heard, parts.cells, parts.run, parts.stop, parts.answer),
        _HELD,
    )
    gr.on([blocks.load, parts.model.change], _describe(page), parts.model, parts.about, api_name="describe", **_QUICK)


def _inputs(page: Page, viewer: gr.HTML, facts: gr.HTML) -> _Parts:
    models = page.models()
    if page.examples:
        gr.HTML(f'<h2 class="mm-heading">{label("examples")}</h2>')
    with gr.Row(elem_classes="mm-examples"):
        examples = [gr.Button(e.title, size="sm", min_width=0, elem_classes="mm-example") for e in page.examples]
    uploads = [upload_box(label=label("upload"), file_count="multiple", height=150, elem_id="upload")]
    with gr.Accordion(label("upload_folder"), open=False):
        uploads.append(upload_box(label=label("upload_folder"), file_count="directory", height=150, elem_id="upload-folder"))
    verdict = gr.HTML(elem_id="verdict")
    series = gr.Dropdown(label=label("series"), visible=False, elem_id="series")
    with gr.Group(visible=False, elem_id="repairs") as repairs:
        gr.HTML(f'<p class="mm-muted">{label("repair")}</p>', padding=True)
        repair = [gr.Checkbox(label=label(f"repair_{name}"), elem_id=f"repair-{name}") for name in REPAIRS]
    token, seen = gr.State("", time_to_live=_HELD), gr.State([], time_to_live=_HELD)
    told = beside.build(page, viewer, token, seen)
    note = gr.Textbox(
        label=label("note"), placeholder=label("note_hint"), lines=4, max_lines=14, max_length=LIMITS.note_chars, elem_id="note"
    )
    note_facts = gr.HTML(elem_id="note-facts")
    heard = dictation.build(page, note, _HELD)
    model = gr.Dropdown(models, value=models[0] if models else None, label=label("model"), elem_id="model")
    about = gr.HTML(elem_id="about")
    cells = values.build(page, model, _HELD)
    with gr.Row():
        run = gr.Button(label("run"), variant="primary", elem_id="run", scale=3)
        stop = gr.Button(label("stop"), elem_id="stop", scale=1, min_width=80, interactive=False)
    return _Parts(
        viewer, facts, verdict, series, repairs, repair, uploads, examples, note, note_facts, model, about, run, stop,
        answer=gr.HTML(elem_id="answer"), heard=heard, cells=cells, token=token, seen=seen, beside=told,
        inspection=gr.State(None, time_to_live=_HELD),
    )  # fmt: skip


def _wire_opening(page: Page, parts: _Parts) -> None:
    for index, button in enumerate(parts.examples):
        outputs = [*parts.opened, parts.note, parts.model]
        button.click(_example(page, index), None, outputs, api_name=f"example_{index}", **HIDDEN)
    for upload in parts.uploads:
        upload.upload(_upload(page), upload, [*parts.opened, *parts.uploads], api_name="open_upload", **_QUICK)
    chosen = [parts.series, parts.inspection, parts.token, parts.seen, *parts.repair]
    changes = [parts.series.input, *(box.input for box in parts.repair)]
    written = [parts.viewer, parts.facts, parts.token, parts.seen, parts.beside, parts.verdict, parts.inspection, parts.answer]
    gr.on(changes, _choose(page), chosen, written, api_name="choose_series", **_QUICK)


def _opened(
    spec: Any, facts: str, token: str, verdict: str = "", inspection: dict[str, Any] | None = None, chosen: int | None = None
) -> tuple[Any, ...]:
    """Values of `_Parts.opened`; the controls that choose a series show where there is something to choose."""
    named = _named(inspection)
    several, broken = len(named) > 1, any(inspection["found"][i]["code"] for _, i in named) if inspection else False
    series = gr.update(choices=named, value=chosen if named else None, visible=several)
    return spec, facts, token, [spec] if spec else [], "", verdict, inspection, series, gr.update(visible=broken), ""


def _named(inspection: dict[str, Any] | None) -> list[tuple[str, int]]:
    """What a visitor can choose: description and place in the list, so that no UID goes to the browser."""
    found = inspection["found"] if inspection else []
    return [(f"{i + 1}. {f['description']}", i) for i, f in enumerate(found) if f["name"]]


def _example(page: Page, index: int) -> Any:
    def open_example(request: gr.Request) -> Any:
        opened, note, model = page.open_example(index, str(request.session_hash), language(request))
        return (*_opened(*opened), note, model)

    return open_example


def _upload(page: Page) -> Any:
    def open_upload(files: list[str] | None, request: gr.Request) -> Iterator[Any]:
        spoken, session = language(request), str(request.session_hash)
        cleared = (None, None)
        if not files:
            yield (*_opened(None, "", ""), *cleared)
            return
        try:
            token = page.take(files, session)  # before a word is said: it goes with a visitor who leaves from now on
            yield (*_opened(None, "", "", views.working(say(spoken, "looking"))), *cleared)
            inspection = page.inspect(token, session)
            verdict = study_views.verdict(inspection, spoken)
            yield (*_opened(None, views.working(say(spoken, "reading_series")), "", verdict), *cleared)
            named = _named(inspection)
            keep = len(named) > 1 or any(inspection["found"][i]["code"] for _, i in named)
            if keep:
                verdict += f'<p class="mm-muted">{say(spoken, "choose")}</p>'
            chosen = next((i for _, i in named if inspection["found"][i]["chosen"]), None)
            opened = page.read(token, session, spoken, keep=keep, inspection=inspection)
            yield (*_opened(*opened, verdict, inspection if keep else None, chosen), *cleared)
        except MedmmError as error:
            page.sessions.wipe(session)
            yield (*_opened(None, views.failure(error.code, error.message, spoken), ""), *cleared)

    return open_upload


def _choose(page: Page) -> Any:
    def choose_series(
        request: gr.Request, index: int | None, inspection: dict[str, Any] | None, token: str, seen: beside.Seen, *mended: bool
    ) -> tuple[Any, ...]:
        spoken, session = language(request), str(request.session_hash)
        names = {i: inspection["found"][i]["name"] for _, i in _named(inspection)} if inspection else {}
        found = [{**f, "chosen": i == index} for i, f in enumerate(inspection["found"])] if inspection else []
        marked = {**(inspection or {}), "found": found}
        repair = [name for name, wanted in zip(REPAIRS, mended, strict=True) if wanted]
        try:
            name = names.get(index or 0)
            spec, facts, token = page.read(token, session, spoken, series=name, repair=repair, keep=True, inspection=inspection)
        except MedmmError as error:
            return None, views.failure(error.code, error.message, spoken), token, [], "", gr.skip(), inspection, ""
        now = [spec, *seen[1:]] if spec else []
        return now, facts, token, now, "", study_views.verdict(marked, spoken), marked, ""

    return choose_series


def _wire_note(page: Page, parts: _Parts, blocks: gr.Blocks) -> None:
    def explain(note: str | None, model: str, request: gr.Request) -> Iterator[str]:
        spoken, text = language(request), note or ""
        yield study_views.note_facts(text, None, spoken)
        if text.strip():
            try:
                yield study_views.note_facts(text, page.used(text, model), spoken)
            except MedmmError as error:
                yield views.failure(error.code, error.message, spoken)

    events = [blocks.load, parts.note.change, parts.model.change]
    gr.on(events, explain, [parts.note, parts.model], parts.note_facts, trigger_mode="always_last", api_name="note", **_QUICK)


def _describe(page: Page) -> Callable[..., str]:
    def describe(model: str, request: gr.Request) -> str:
        return page.describe(model, language(request))

    return describe


def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
