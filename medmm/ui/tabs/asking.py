"""Ask a model about the study, and see what would change its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from medmm.errors import MedmmError
from medmm.settings import LIMITS
from medmm.ui import answer_views, views
from medmm.ui.blocks import HIDDEN
from medmm.ui.jobs import Job, watched
from medmm.ui.page import Page
from medmm.ui.speech import label, language
from medmm.ui.tabs import dictation, values
from medmm.ui.words import Language, say

_QUIET: dict[str, Any] = {"show_progress": "hidden", **HIDDEN}
_LINE: dict[str, Any] = {"concurrency_limit": 16, **_QUIET}  # the line is ours: it can be watched and left
_BUSY = (gr.update(interactive=False), gr.update(interactive=True))  # run and stop, while an answer is made
_IDLE = (gr.update(interactive=True), gr.update(interactive=False))

Events = AsyncIterator[Any]


@dataclass(frozen=True, slots=True)
class Form:
    """The components whose content is asked about, the two buttons, and where the answer goes."""

    token: gr.State
    note: gr.Textbox
    model: gr.Dropdown
    heard: gr.State
    cells: gr.State
    run: gr.Button
    stop: gr.Button
    answer: gr.HTML


@dataclass(frozen=True, slots=True)
class _WhatIf:
    """The components in which a visitor changes what was asked."""

    box: gr.Accordion
    scan: gr.Checkbox
    words: gr.Checkbox
    note: gr.Textbox
    moved: gr.HTML


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of a model; for the parts see `Page.ask`."""

    token: str
    note: str | None
    model: str
    confidence: float
    typed: dict[str, str]
    recording: str

    @classmethod
    async def of(
        cls, page: Page, token: str, note: str | None, model: str, heard: dictation.Heard | None, cells: values.Cells | None
    ) -> _Question:
        """From what the form holds.

        Raises:
            MedmmError: If the model is none of ours.
        """
        typed = values.only_of(await asyncio.to_thread(page.about, model), cells)
        return cls(token, note, model, dictation.confidence_of(note, heard), typed, dictation.recording_of(heard))

    def put(self, page: Page, session: str, *, scan: bool = True, words: bool = True) -> Job:
        """Put it into the line, perhaps without the study or the note."""
        token, note = self.token if scan else "", self.note if words else ""
        more: dict[str, Any] = {"confidence": self.confidence, "values": self.typed, "recording": self.recording}
        return page.ask(token, note, self.model, session, **more)


def build(page: Page, form: Form, held: int) -> None:
    """Lay out what may be changed, and wire both.

    Args:
        page: The page.
        form: What is asked about.
        held: Seconds that the server remembers what was asked.
    """
    base, what_if = gr.State(None, time_to_live=held), _lay_out()
    changed = [what_if.box, what_if.scan, what_if.words, what_if.note, what_if.moved]
    written = [form.answer, form.run, form.stop, base, *changed]
    asked = [form.token, form.note, form.model, form.heard, form.cells]
    form.run.click(_run(page), asked, written, api_name="answer", **_LINE)
    form.stop.click(_stop(page), None, None, queue=False, api_name="stop", **_QUIET)
    gr.on(
        [what_if.scan.input, what_if.words.input, what_if.note.change],
        _what_would_change(page),
        [base, what_if.scan, what_if.words, form.token, what_if.note, form.model, form.heard, form.cells],
        what_if.moved,
        trigger_mode="always_last",
        api_name="what_if",
        **_LINE,
    )


def _lay_out() -> _WhatIf:
    with gr.Accordion(label("what_if"), visible=False, elem_id="what-if") as box:
        with gr.Row():
            scan = gr.Checkbox(value=True, label=label("use_image"), elem_id="use-image", min_width=120)
            words = gr.Checkbox(value=True, label=label("use_text"), elem_id="use-text", min_width=120)
        note = gr.Textbox(label=label("edited_note"), lines=3, max_lines=8, max_length=LIMITS.note_chars, elem_id="edited-note")
        moved = gr.HTML(elem_id="moved")
    return _WhatIf(box, scan, words, note, moved)


def _run(page: Page) -> Callable[..., Events]:
    async def run(
        token: str, note: str | None, model: str, heard: dictation.Heard | None, cells: values.Cells | None, request: gr.Request
    ) -> Events:
        spoken, session = language(request), str(request.session_hash)
        page.jobs.cancel(session)  # an answer that this visitor no longer waits for
        kept: tuple[Any, ...] = (gr.skip(),) * 6
        try:
            question = await _Question.of(page, token, note, model, heard, cells)
            job = question.put(page, session)
            async for told in _progress(page, job, spoken):
                yield (told, *_BUSY, *kept)
            prediction = job.result()
            html = await asyncio.to_thread(page.answer, prediction, model, spoken)
        except MedmmError as error:
            yield (views.failure(error.code, error.message, spoken), *_IDLE, None, gr.update(visible=False), *kept[2:])
            return
        used = [name in prediction["modalities"] for name in ("image", "text")]
        base = {"answer": prediction, "asked": [*used, note or "", question.typed]}
        yield (html, *_IDLE, base, gr.update(visible=True), *used, note or "", "")

    return run


def _what_would_change(page: Page) -> Callable[..., Events]:
    async def what_would_change(
        base: dict[str, Any] | None, scan: bool, words: bool, token: str, note: str | None, model: str,
        heard: dictation.Heard | None, cells: values.Cells | None, request: gr.Request,
    ) -> Events:  # fmt: skip
        spoken, session = language(request), str(request.session_hash)
        if base is None:
            yield f'<p class="mm-muted">{say(spoken, "ask_first")}</p>'
            return
        try:
            question = await _Question.of(page, token, note, model, heard, cells)
            if base["asked"] == [scan, words, note or "", question.typed]:
                yield ""
                return
            job = question.put(page, session, scan=scan, words=words)
            async for told in _progress(page, job, spoken):
                yield told
            yield answer_views.compared(base["answer"], job.result(), spoken)
        except MedmmError as error:
            yield views.failure(error.code, error.message, spoken)

    return what_would_change


def _progress(page: Page, job: Job, spoken: Language) -> AsyncIterator[str]:
    return watched(job, partial(page.progress, job, spoken))


def _stop(page: Page) -> Callable[[gr.Request], None]:
    def stop(request: gr.Request) -> None:
        page.jobs.cancel(str(request.session_hash))

    return stop
