"""The handlers behind the page: plain functions of what a visitor sent, testable without a browser."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from medmm.errors import MedmmError, ModelError
from medmm.settings import LIMITS
from medmm.shelf import DEFAULT_MODEL, examples, find_model, model_names
from medmm.ui import tasks, views
from medmm.ui.lent_gpu import lent_gpu
from medmm.ui.session import Sessions
from medmm.ui.words import Language
from medmm.worker import SINGLE_THREADED, Worker

_TASKS = "medmm.ui.tasks"
_READ_SECONDS, _PREDICT_SECONDS = LIMITS.seconds + 15.0, 180.0  # a study that takes longer is ended by the reader itself
PACK_ROUTE = "gradio_api/medmm/volume/"
_WIDE_MM = 300.0  # a scan this wide is a trunk

Opened = tuple[dict[str, Any] | None, str, str]
"""Viewer value, facts as HTML, token of the study."""


class Page:
    """One server's page: its helper processes, its visitors' files, and the handlers of its events.

    Args:
        model: Name of a shipped model, or a model folder; the default model when None.

    Attributes:
        public: Whether others than the person at this machine use the page; then what names a patient is refused.
    """

    def __init__(self, model: str | None) -> None:
        self.public = bool(os.environ.get("SPACE_ID"))
        names = [model] if model else sorted(model_names(), key=lambda name: name != DEFAULT_MODEL)
        self._models = {Path(name).name: str(find_model(name)) for name in names}
        self.sessions = Sessions()
        self.reader = Worker(_TASKS, "reader", environment=SINGLE_THREADED)
        self.predictor = Worker(_TASKS, "model")
        self._predict = lent_gpu(tasks.predict) or partial(self.predictor.call, "predict", _PREDICT_SECONDS)
        self.examples = examples()
        self._about: dict[str, dict[str, Any]] = {}

    def models(self) -> list[str]:
        """What the visitor can choose from, the first one loaded at the start."""
        return list(self._models)

    def warm(self) -> None:
        """Load the first model in the background, so that the first answer is quick."""
        threading.Thread(target=self._warm, daemon=True).start()

    def _warm(self) -> None:
        try:
            if self.models():
                self.about(self.models()[0])
        except MedmmError:
            return  # the visitor is told when he asks for an answer

    def about(self, model: str) -> dict[str, Any]:
        """Description of a model, asked for once.

        Raises:
            MedmmError: If it cannot be loaded, or is not one the visitor may choose.
        """
        if model not in self._about:
            self._about[model] = self.predictor.call("warm", _PREDICT_SECONDS, model=self._folder_of(model))
        return self._about[model]

    def _folder_of(self, model: str) -> str:
        if model not in self._models:
            msg = f"Expected one of the models {', '.join(self._models)}; got another. Choose one from the list."
            raise ModelError(msg)
        return self._models[model]

    def open_example(self, index: int, session: str, language: Language = "en") -> tuple[Opened, str, str]:
        """An example opened, its note, and the model made for it."""
        example = self.examples[index]
        viewer, facts, token = self._open(lambda _: example.path, session, language)
        told = f'<p class="mm-muted">{escape(example.truth)} {escape(example.attribution)}</p>'
        return (viewer, facts + told, token), example.note, example.model if example.model in self._models else self.models()[0]

    def open_upload(self, uploads: list[str] | None, session: str, language: Language = "en") -> Opened:
        """Viewer, facts and token of uploaded files, which are removed from where the server put them."""
        if not uploads:
            return None, "", ""
        return self._open(lambda folder: self.sessions.adopt(uploads, folder), session, language)

    def _open(self, source: Callable[[Path], Path], session: str, language: Language) -> Opened:
        """Read what `source`, given the fresh study folder, points to."""
        token, folder = self.sessions.new(session)
        try:
            found = self.reader.call("read", _READ_SECONDS, path=str(source(folder)), folder=str(folder), public=self.public)
        except MedmmError as error:
            self.sessions.drop(token)
            return None, views.failure(error.code, error.message), ""
        finally:
            shutil.rmtree(folder / "incoming", ignore_errors=True)
        spec = {**found["pack"], "url": PACK_ROUTE + token, "lung": _shows_lung(found["study"])}
        return spec, views.study_facts(found["study"], found["warnings"], language), token

    def run(self, token: str, note: str | None, model: str, session: str, language: Language = "en") -> str:
        """The answer as HTML."""
        try:
            folder = str(self.sessions.find(token, session)) if token else None
            prediction = self._predict(folder=folder, note=note, model=self._folder_of(model), public=self.public)
            return views.result(prediction, self.about(model), language)
        except MedmmError as error:
            return views.failure(error.code, error.message)

    def describe(self, model: str, language: Language = "en") -> str:
        """The model's paragraph."""
        try:
            return views.model_facts(self.about(model), language)
        except MedmmError as error:
            return views.failure(error.code, error.message)

    def close(self) -> None:
        """Stop the helper processes and remove every file."""
        self.reader.close()
        self.predictor.close()
        self.sessions.close()


def _shows_lung(study: dict[str, Any]) -> bool:
    """A scan wide enough to be a trunk is first shown in the lung window."""
    geometry = study["geometry"]
    return bool(geometry["unit"] == "HU" and geometry["extent_mm"][0] > _WIDE_MM)
