"""What a visitor gets from the handlers of a page, without a browser or a server."""

from __future__ import annotations

from medmm.errors import MedmmError
from medmm.ui import views
from medmm.ui.page import Opened, Page


def opened(page: Page, uploads: list[str], session: str) -> Opened:
    """What a visitor gets who uploads these; a refusal as the page words it."""
    try:
        return page.read(page.take(uploads, session), session)
    except MedmmError as error:
        return None, views.failure(error.code, error.message), ""


def asked(page: Page, token: str, note: str | None, model: str, session: str) -> str:
    """The answer that a visitor waits for, or the refusal, as HTML."""
    try:
        return page.answer(page.ask(token, note, model, session).result(), model)
    except MedmmError as error:
        return views.failure(error.code, error.message)
