"""What is looked at together with a study: a mask over it, an earlier study beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from medmm.errors import MedmmError, NoImageError
from medmm.ui import views
from medmm.ui.blocks import HIDDEN
from medmm.ui.boxes import upload_box
from medmm.ui.page import Page
from medmm.ui.speech import label, language
from medmm.ui.words import Language, say

Seen = list[dict[str, Any]]
"""What the viewer shows: nothing, a study, or a study and an earlier one."""

_Add = Callable[[list[str], str, str, Seen, Language], tuple[Seen, str]]
"""Given files, token, session, what is seen and the language of the page."""


def build(page: Page, viewer: gr.HTML, token: gr.State, seen: gr.State) -> gr.HTML:
    """Lay the boxes out and wire them; returns where it is said how that went.

    Args:
        page: Whose handlers are called.
        viewer: Shows what is seen.
        token: Of the study.
        seen: What the viewer shows.
    """
    with gr.Accordion(label("beside"), open=False, elem_id="beside"):
        mask = upload_box(label=label("mask_upload"), height=150, elem_id="mask")
        prior = upload_box(label=label("prior_upload"), file_count="multiple", height=150, elem_id="prior")
        told = gr.HTML(elem_id="beside-facts")
    event: dict[str, Any] = {"show_progress": "hidden", **HIDDEN}
    mask.upload(_cover(page), [mask, token, seen], [viewer, seen, told, mask], api_name="cover", **event)
    prior.upload(_compare(page), [prior, token, seen], [viewer, seen, told, prior], api_name="compare_with_prior", **event)
    return told


def _cover(page: Page) -> Any:
    def cover(files: list[str], token: str, session: str, seen: Seen, spoken: Language) -> tuple[Seen, str]:
        return [page.cover(files, token, session, seen[0], spoken), *seen[1:]], _note(say(spoken, "mask_shown"))

    return _added("reading_mask", cover, lambda _: gr.skip())


def _compare(page: Page) -> Any:
    def compare(files: list[str], _token: str, session: str, seen: Seen, spoken: Language) -> tuple[Seen, str]:
        spec, facts = page.open_prior(files, session, seen[1:], spoken)
        return [seen[0], spec], _note(say(spoken, "prior_shown")) + facts

    return _added("reading_series", compare, lambda seen: seen[:1])


def _added(reading: str, add: _Add, left: Callable[[Seen], Any]) -> Any:
    """What an upload does to what is seen.

    Args:
        reading: Key of what is said meanwhile.
        add: What is seen then, and what is said of it.
        left: What is seen when that fails.
    """

    def take(files: list[str] | None, token: str, seen: Seen, request: gr.Request) -> Iterator[Any]:
        spoken, session = language(request), str(request.session_hash)
        if not files:
            yield (gr.skip(),) * 4
            return
        yield gr.skip(), gr.skip(), views.working(say(spoken, reading)), None
        try:
            _require_open(token, seen)
            now, told = add(files, token, session, seen, spoken)
        except MedmmError as error:
            now, told = left(seen), views.failure(error.code, error.message, spoken)
        yield now, now, told, None

    return take


def _require_open(token: str, seen: Seen) -> None:
    if not token or not seen:
        msg = "Expected an open study to show this with; there is none. Open a study first."
        raise NoImageError(msg)


def _note(sentence: str) -> str:
    return f'<p class="mm-muted" role="status">{sentence}</p>'
