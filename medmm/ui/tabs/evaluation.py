"""How good models were measured to be: kept results, the visit's batch, an uploaded metrics.json; two of them compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from medmm.errors import MedmmError
from medmm.ui import evaluation_views, views
from medmm.ui.blocks import HIDDEN
from medmm.ui.measured import Measured, committed, of_run, title
from medmm.ui.page import Page
from medmm.ui.speech import label, language
from medmm.ui.words import Language, say

Uploaded = dict[str, Measured]

_HELD = 1800  # seconds that the server remembers an upload
_MOST = 4
_BATCH = "batch"
_QUICK: dict[str, Any] = {"show_progress": "hidden", **HIDDEN}


def build(page: Page, blocks: gr.Blocks) -> None:
    """Lay the tab out and wire it."""
    kept = committed()
    uploaded = gr.State(None, time_to_live=_HELD)
    gr.HTML(f"<p>{label('evaluation_intro')}</p>")
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280):
            chosen = gr.Dropdown([], label=label("evaluation_results"), elem_id="evaluation-results")
            other = gr.Dropdown([], label=label("compare_with"), elem_id="evaluation-other")
            upload = gr.File(label=label("evaluation_upload"), height=180, elem_id="evaluation-upload")
            upload.preprocess = _path  # type: ignore[method-assign]  # nothing foreign is decoded in this process
        with gr.Column(scale=3, min_width=320):
            refused = gr.HTML(elem_id="evaluation-refused")
            shown = gr.HTML(elem_id="evaluation")
    tab = shown.parent
    while not isinstance(tab, gr.Tab):
        assert tab is not None
        tab = tab.parent
    lists = [chosen, other]
    written = [*lists, shown, refused]
    gr.on([blocks.load, tab.select], _list(page, kept), [*lists, uploaded], written, api_name="evaluation_list", **_QUICK)
    gr.on([chosen.input, other.input], _show(page, kept), [*lists, uploaded], shown, api_name="evaluation_show", **_QUICK)
    upload.upload(
        _upload(page, kept), [upload, *lists, uploaded], [*written, uploaded, upload], api_name="evaluation_upload", **_QUICK
    )


def _choices(page: Page, kept: Mapping[str, Measured], uploaded: Uploaded | None, session: str) -> dict[str, Measured]:
    """Everything that can be shown to a visit, by its name."""
    batch = page.batches.of(session)
    own = of_run(batch.run) if batch is not None and batch.model else None
    return {**(uploaded or {}), **({_BATCH: own} if own is not None else {}), **kept}


def _listed(choices: Mapping[str, Measured], chosen: str | None, other: str | None, spoken: Language) -> tuple[Any, ...]:
    """The two lists; what is chosen stays chosen while it is there."""
    named = [(say(spoken, "evaluation_batch") if name == _BATCH else name, name) for name in choices]
    first = chosen if chosen in choices else next(iter(choices), None)
    second = other if other in choices else ""
    return (
        gr.update(choices=named, value=first, interactive=bool(named)),
        gr.update(choices=[(say(spoken, "compare_none"), ""), *named], value=second, interactive=len(named) > 1),
    )


def _html(choices: Mapping[str, Measured], chosen: str | None, other: str | None, spoken: Language) -> str:
    first = choices.get(chosen or "") or next(iter(choices.values()), None)
    if first is None:
        return evaluation_views.empty(spoken)
    second = choices.get(other or "")
    if second is None or second is first:
        return evaluation_views.details(first.results, spoken)
    names = (str(chosen), str(other))
    told = (say(spoken, "evaluation_batch") if name == _BATCH else name for name in names)
    return evaluation_views.compared(first, second, (next(told), next(told)), spoken)


def _list(page: Page, kept: Mapping[str, Measured]) -> Callable[..., tuple[Any, ...]]:
    def refresh(chosen: str | None, other: str | None, uploaded: Uploaded | None, request: gr.Request) -> tuple[Any, ...]:
        spoken = language(request)
        choices = _choices(page, kept, uploaded, str(request.session_hash))
        return (*_listed(choices, chosen, other, spoken), _html(choices, chosen, other, spoken), "")

    return refresh


def _show(page: Page, kept: Mapping[str, Measured]) -> Callable[..., str]:
    def show(chosen: str | None, other: str | None, uploaded: Uploaded | None, request: gr.Request) -> str:
        choices = _choices(page, kept, uploaded, str(request.session_hash))
        return _html(choices, chosen, other, language(request))

    return show


def _upload(page: Page, kept: Mapping[str, Measured]) -> Callable[..., tuple[Any, ...]]:
    def upload(
        file: str | None, chosen: str | None, other: str | None, uploaded: Uploaded | None, request: gr.Request
    ) -> tuple[Any, ...]:
        spoken = language(request)
        if not file:
            return (*(gr.skip(),) * 5, None)
        try:
            results = page.check_metrics(file, str(request.session_hash))
        except MedmmError as error:
            return (gr.skip(), gr.skip(), gr.skip(), views.failure(error.code, error.message, spoken), gr.skip(), None)
        name = title(results, results.split or "-")
        mine = dict([(name, Measured(results)), *(uploaded or {}).items()][:_MOST])
        choices = _choices(page, kept, mine, str(request.session_hash))
        return (*_listed(choices, name, other, spoken), _html(choices, name, other, spoken), "", mine, None)

    return upload


def _path(payload: Any) -> str | None:
    return None if payload is None else str(payload.path)
