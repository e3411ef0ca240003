"""A cohort at once: a table and its studies in, every answer and the measurement out; stopped and gone on with at will."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from medmm.errors import MedmmError
from medmm.shelf import example_cohort
from medmm.ui import batch_views, views
from medmm.ui.batches import Batch
from medmm.ui.blocks import HIDDEN, MOST_FILE_MB
from medmm.ui.boxes import upload_box
from medmm.ui.jobs import watched
from medmm.ui.page import Page
from medmm.ui.speech import label, language
from medmm.ui.words import say

_QUICK: dict[str, Any] = {"show_progress": "hidden", **HIDDEN}
# The tab's own random number outlives its reload and nothing else; it names no person and nothing that was uploaded.
_TICKET = """
() => {
  let ticket = sessionStorage.getItem('medmm-ticket');
  if (!ticket) {
    ticket = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
    sessionStorage.setItem('medmm-ticket', ticket);
  }
  return [ticket];
}
"""


@dataclass(slots=True)
class _Parts:
    """The components that events read and write."""

    upload: gr.File
    example: gr.Button | None
    model: gr.Dropdown
    run: gr.Button
    stop: gr.Button
    forget: gr.Button
    told: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """What every event writes, in the order of `_shown`."""
        return [self.told, self.run, self.stop, self.forget]


def build(page: Page, blocks: gr.Blocks) -> None:
    """Lay the tab out and wire it."""
    models = page.models()
    gr.HTML(f"<p>{label('batch_intro')}</p>")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            upload = upload_box(label=label("batch_upload"), file_count="multiple", height=180, elem_id="batch-upload")
            example = gr.Button(label("batch_example"), size="sm", elem_id="batch-example") if example_cohort() else None
            model = gr.Dropdown(models, value=models[0] if models else None, label=label("model"), elem_id="batch-model")
            with gr.Row():
                run = gr.Button(label("batch_run"), variant="primary", interactive=False, elem_id="batch-run", scale=3)
                stop = gr.Button(label("stop"), interactive=False, elem_id="batch-stop", scale=1, min_width=80)
            offer = gr.HTML(elem_id="batch-offer")
            forget = gr.Button(label("batch_forget"), size="sm", interactive=False, elem_id="batch-forget")
        with gr.Column(scale=3, min_width=320):
            told = gr.HTML(elem_id="batch")
    parts = _Parts(upload, example, model, run, stop, forget, told)
    ticket = gr.Textbox(visible=False, elem_id="batch-ticket")
    blocks.load(_arrive(page), ticket, [offer, *parts.shown], js=_TICKET, api_name="batch_arrive", **_QUICK)
    _wire_opening(page, parts)
    _wire_running(page, parts)


def _shown(batch: Batch | None, html: str, *, busy: bool = False) -> tuple[Any, ...]:
    """Values of `_Parts.shown`."""
    there = batch is not None
    return html, *(gr.update(interactive=on) for on in (there and not busy, busy, there))


def _arrive(page: Page) -> Callable[..., tuple[Any, ...]]:
    def arrive(ticket: str | None, request: gr.Request) -> tuple[Any, ...]:
        spoken, batch = language(request), page.batches.greet(str(request.session_hash), ticket)
        return (batch_views.offer(MOST_FILE_MB, spoken), *_shown(batch, batch_views.standing(batch, spoken)))

    return arrive


def _wire_opening(page: Page, parts: _Parts) -> None:
    def opening(take: Callable[[str], Batch], request: gr.Request) -> Iterator[tuple[Any, ...]]:
        spoken, session = language(request), str(request.session_hash)
        yield _shown(None, views.working(say(spoken, "batch_unpacking")))
        try:
            batch = take(session)
        except MedmmError as error:
            yield _shown(page.batches.of(session), views.failure(error.code, error.message, spoken))
            return
        yield _shown(batch, batch_views.standing(batch, spoken))

    def upload(files: list[str] | None, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        for shown in opening(lambda session: page.batches.take(files or [], session), request):
            yield None, *shown

    def example(request: gr.Request) -> Iterator[tuple[Any, ...]]:
        table = example_cohort()
        assert table is not None  # else there is no button
        yield from opening(lambda session: page.batches.example(table, session), request)

    def forget(request: gr.Request) -> tuple[Any, ...]:
        page.batches.forget(str(request.session_hash))
        return _shown(None, f'<p role="status">{say(language(request), "batch_removed")}</p>')

    parts.upload.upload(upload, parts.upload, [parts.upload, *parts.shown], api_name="batch_upload", **_QUICK)
    if parts.example is not None:
        parts.example.click(example, None, parts.shown, api_name="batch_example", **_QUICK)
    parts.forget.click(forget, None, parts.shown, api_name="batch_forget", **_QUICK)


def _wire_running(page: Page, parts: _Parts) -> None:
    async def run(model: str, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        spoken, session, jobs = language(request), str(request.session_hash), page.batches.jobs
        jobs.cancel(session)
        try:
            batch, job = page.batches.start(session, model)
        except MedmmError as error:
            yield _shown(page.batches.of(session), views.failure(error.code, error.message, spoken))
            return

        def tell() -> str:
            batch.hear(job.phase)
            page.batches.keep(batch)
            return batch_views.progress(job.phase, jobs.place(job), spoken)

        async for told in watched(job, tell):
            yield _shown(batch, told, busy=True)
        try:
            batch.results[model] = await asyncio.to_thread(job.result)
        except MedmmError as error:
            left = page.batches.of(session)
            rest = batch_views.standing(left, spoken) if left is not None else ""
            yield _shown(left, views.failure(error.code, error.message, spoken) + rest)
            return
        yield _shown(batch, batch_views.standing(batch, spoken))

    def stop(request: gr.Request) -> None:
        page.batches.jobs.cancel(str(request.session_hash))

    parts.run.click(run, parts.model, parts.shown, api_name="batch_run", concurrency_limit=16, **_QUICK)
    parts.stop.click(stop, None, None, queue=False, api_name="batch_stop", **_QUICK)
