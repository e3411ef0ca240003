"""The handlers behind the page: plain functions of what a visitor sent, testable without a browser."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from medmm.errors import AudioError, MedmmError, ModelError, NoImageError
from medmm.evaluation.files import METRICS, read_results
from medmm.results import Results
from medmm.settings import LIMITS
from medmm.shelf import DEFAULT_MODEL, examples, find_model, model_names
from medmm.ui import answer_views, study_views, tasks, views
from medmm.ui.batches import Batches
from medmm.ui.jobs import Call, Job, Jobs
from medmm.ui.lent_gpu import lent_gpu
from medmm.ui.session import INCOMING, Sessions
from medmm.ui.words import Language, say
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
        recogniser: Speech recogniser that writes dictation down, from the environment's MEDMM_ASR; empty without one.
    """

    def __init__(self, model: str | None) -> None:
        self.public = bool(os.environ.get("SPACE_ID"))
        names = [model] if model else sorted(model_names(), key=lambda name: name != DEFAULT_MODEL)
        self._models = {Path(name).name: str(find_model(name)) for name in names}
        self.sessions = Sessions()
        self.reader = Worker(_TASKS, "reader", environment=SINGLE_THREADED)
        self.predictor = Worker(_TASKS, "model")
        self.jobs = Jobs(_answering(self.predictor))
        self._readings, self._dictations = Jobs(self.reader.call), Jobs(self.predictor.call)
        self._cohorts = Worker(_TASKS, "batch")
        self.batches = Batches(self.sessions, self.reader, self._cohorts, self._folder_of, lambda: self.public)
        self.recogniser = os.environ.get("MEDMM_ASR", "")
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
        token, folder = self.sessions.new(session)
        viewer, facts, token = self._read(token, folder, example.path, session, language)
        source = f'<summary>{say(language, "example_source")}</summary><span lang="en">{escape(example.attribution)}</span>'
        told = f'<p class="mm-muted" lang="en">{escape(example.truth)}</p><details class="mm-muted">{source}</details>'
        return (viewer, facts + told, token), example.note, example.model if example.model in self._models else self.models()[0]

    def take(self, uploads: list[str], session: str) -> str:
        """Take over uploaded files as this visitor's study, in place of the one before; returns its token.

        Raises:
            NoImageError: If one is no longer there.
        """
        token, folder = self.sessions.new(session)
        try:
            self.sessions.adopt(uploads, folder, session)
        except MedmmError:
            self.sessions.drop(token)
            raise
        return token

    def inspect(self, token: str, session: str) -> dict[str, Any]:
        """What lies in an upload, before anything of it is read.

        Raises:
            MedmmError: If it cannot be looked at, names the patient on a public page, or is no longer there.
        """
        path = _uploaded(self.sessions.find(token, session))
        return self._have_read("inspect", session, path.parent, path=str(path), public=self.public)

    def read(
        self, token: str, session: str, language: Language = "en", *, series: str | None = None, repair: Sequence[str] = (),
        keep: bool = False, inspection: dict[str, Any] | None = None,
    ) -> Opened:  # fmt: skip
        """Viewer, facts and a fresh token of one series of an upload.

        Args:
            token: Of the upload.
            session: Of the visitor.
            language: Of the page.
            series: As for `open_study`.
            repair: As for `open_study`.
            keep: Whether the upload stays, so that another series can be read from it; else it goes.
            inspection: What `inspect` said of it.

        Raises:
            NoImageError: If it is no longer there.
        """
        path = _uploaded(self.sessions.find(token, session))
        token, folder = self.sessions.renew(token, session)
        identifiers = inspection["identifiers"] if inspection else None
        how: dict[str, Any] = {"series": series, "repair": list(repair), "identifiers": identifiers}
        return self._read(token, folder, path, session, language, keep=keep, **how)

    def _read(
        self, token: str, folder: Path, path: Path, session: str, language: Language, *, keep: bool = False, **how: Any
    ) -> Opened:  # fmt: skip
        try:
            asked = {"path": str(path), "folder": str(folder), "public": self.public, **how}
            found = self._have_read("read", session, folder, **asked)
        except MedmmError as error:
            if not keep:
                self.sessions.drop(token)
            return None, views.failure(error.code, error.message, language), token if keep else ""
        finally:
            if not keep:
                shutil.rmtree(folder / INCOMING, ignore_errors=True)
        spec = {**found["pack"], "url": PACK_ROUTE + token, "lung": _shows_lung(found["study"])}
        return spec, study_views.study_facts(found["study"], found["warnings"], language), token

    def cover(
        self, uploads: list[str], token: str, session: str, spec: dict[str, Any], language: Language = "en"
    ) -> dict[str, Any]:
        """Take an uploaded mask over, lay it over a study, and let it go.

        Args:
            uploads: As the server stored it.
            token: Of the study.
            session: Of the visitor.
            spec: What the viewer was told of the study.
            language: Of the page.

        Returns:
            What the viewer is to be told now.

        Raises:
            MedmmError: If it is no mask of this study.
        """
        study = self.sessions.find(token, session)
        with self.sessions.passing() as folder:
            asked: dict[str, Any] = {"path": str(self.sessions.adopt(uploads, folder, session)), "folder": str(study)}
            asked |= {"pack": spec, "name": say(language, "mask"), "public": self.public}
            return self._have_read("cover", session, study, **asked)

    def open_prior(
        self, uploads: list[str], session: str, before: Sequence[dict[str, Any]], language: Language = "en"
    ) -> tuple[dict[str, Any], str]:
        """Read an uploaded study that is to be seen beside the open one.

        Args:
            uploads: As the server stored them.
            session: Of the visitor.
            before: What the viewer was told of the one beside it until now, which goes.
            language: Of the page.

        Returns:
            What the viewer is to be told of it, and its facts as HTML.

        Raises:
            MedmmError: If it cannot be read, or names the patient on a public page.
        """
        for spec in before:
            self.sessions.drop(spec["url"].removeprefix(PACK_ROUTE))
        token, folder = self.sessions.new(session, beside=True)
        try:
            path = self.sessions.adopt(uploads, folder, session)
            found = self._have_read("read", session, folder, path=str(path), folder=str(folder), public=self.public)
        except MedmmError:
            self.sessions.drop(token)
            raise
        shutil.rmtree(folder / INCOMING, ignore_errors=True)
        spec = {**found["pack"], "url": PACK_ROUTE + token, "title": say(language, "prior")}
        return spec, study_views.study_facts(found["study"], found["warnings"], language)

    def take_in(
        self, uploads: list[str], folder: Path, session: str, *, series: str | None = None, repair: Sequence[str] = ()
    ) -> None:
        """Take uploaded files over and leave their study, checked and not to be seen, in a folder.

        Args:
            uploads: As the server stored them.
            folder: Private.
            session: Of the visitor who sent them.
            series: As for `open_study`.
            repair: As for `open_study`.

        Raises:
            MedmmError: If they cannot be read, or name the patient on a public page.
        """
        path = self.sessions.adopt(uploads, folder, session)
        how: dict[str, Any] = {"series": series, "repair": list(repair), "seen": False}
        self._have_read("read", session, folder, path=str(path), folder=str(folder), public=self.public, **how)

    def _have_read(self, task: str, session: str, place: Path, **arguments: Any) -> dict[str, Any]:
        """What a task of the reader answers about what lies in a place, waited for; it ends when the visitor leaves."""
        return _if_still_there(self._readings.start(session, task, task, _READ_SECONDS, **arguments), place).result()

    def hear(self, upload: str, session: str = "", before: str = "") -> dict[str, Any]:
        """Take a recording over and write it down; it is kept only for models that read audio.

        Args:
            upload: As the server stored it.
            session: Of the visitor who sent it.
            before: Token of an earlier recording, which goes.

        Returns:
            `seconds`; with a recogniser also `text`, and `confidence` from 0 to 1; where a model reads audio also
            `recording`, its token.

        Raises:
            MedmmError: If it cannot be read, or no word is understood.
        """
        self.sessions.drop(before)
        token, folder = self.sessions.new(session, beside=True, lasting=True)
        kept = False
        try:
            path = self.sessions.adopt([upload], folder, session)
            heard = self._have_read("hear", session, folder, path=str(path), folder=str(folder))
            shutil.rmtree(folder / INCOMING, ignore_errors=True)
            if self.recogniser:
                asked = {"folder": str(folder), "recogniser": self.recogniser}
                heard |= self._dictations.start(session, self.recogniser, "transcribe", _PREDICT_SECONDS, **asked).result()
            kept = any("audio" in self.about(model)["modalities"] for model in self.models())
        finally:
            if not kept:
                self.sessions.drop(token)
        return heard | ({"recording": token} if kept else {})

    def check_metrics(self, upload: str, session: str = "") -> Results:
        """Take an uploaded `metrics.json` over, read it and let it go.

        Args:
            upload: As the server stored it.
            session: Of the visitor who sent it.

        Raises:
            MedmmError: If it is too large or not one of this schema version.
        """
        with self.sessions.passing() as folder:
            path = self.sessions.adopt([upload], folder, session)
            self._have_read("check_metrics", session, folder, path=str(path), folder=str(folder))
            return read_results(folder / METRICS)

    def ask(
        self, token: str, note: str | None, model: str, session: str, *, confidence: float = 1.0,
        values: Mapping[str, str] | None = None, recording: str = "",
    ) -> Job:  # fmt: skip
        """Put a question to a model into the line.

        Args:
            token: Of the study; empty without one.
            note: As typed.
            model: Name.
            session: Of the visitor.
            confidence: As for `tasks.predict`.
            values: As for `tasks.predict`.
            recording: Token of what was heard; empty without.

        Raises:
            MedmmError: If the study or the recording is no longer there, or the model is none of ours.
        """
        folder = self.sessions.find(token, session) if token else None
        listens = bool(recording) and "audio" in self.about(model)["modalities"]
        spoken = self._recording(recording, session) if listens else None
        return self.ask_about(folder, note, model, session, confidence=confidence, values=values, recording=spoken)

    def _recording(self, token: str, session: str) -> Path:
        try:
            return self.sessions.find(token, session)
        except NoImageError:
            msg = "Expected the recording made before; it has been removed. Record it again, or remove it from the form."
            raise AudioError(msg) from None

    def ask_about(
        self, folder: Path | None, note: str | None, model: str, session: str, *, confidence: float = 1.0,
        values: Mapping[str, str] | None = None, recording: Path | None = None,
    ) -> Job:  # fmt: skip
        """Put a question about what lies in a folder into the line; for the rest as `ask`."""
        asked: dict[str, Any] = {"folder": str(folder) if folder else None, "note": note, "model": self._folder_of(model)}
        asked |= {"public": self.public, "confidence": confidence, "values": dict(values or {})}
        asked |= {"recording": str(recording) if recording else None}
        return _if_still_there(self.jobs.start(session, model, "predict", _PREDICT_SECONDS, **asked), folder)

    def progress(self, job: Job, language: Language = "en") -> str:
        """Where an answer stands, as HTML."""
        return answer_views.progress(job.phase, self.jobs.place(job), self.jobs.seconds_left(job), language)

    def answer(self, prediction: dict[str, Any], model: str, language: Language = "en") -> str:
        """An answer as HTML, with what can be taken away.

        Raises:
            MedmmError: If the model can no longer be described.
        """
        about = self.about(model)
        return answer_views.result(prediction, about, language) + answer_views.downloads(prediction, about, language)

    def used(self, note: str, model: str) -> dict[str, Any]:
        """The part of a note that a model reads, without an answer.

        Raises:
            MedmmError: If it is no note, or the model is none of ours.
        """
        return self.predictor.call("used", _PREDICT_SECONDS, note=note, model=self._folder_of(model))

    def describe(self, model: str, language: Language = "en") -> str:
        """The model's paragraph."""
        try:
            return views.model_facts(self.about(model), language)
        except MedmmError as error:
            return views.failure(error.code, error.message, language)

    def leave(self, session: str) -> None:
        """Remove what is a visitor's who has left, and stop what is done for him."""
        self.sessions.wipe(session)  # first, so that what is begun after the lines were looked at finds it gone
        for line in (self.jobs, self._readings, self._dictations):
            line.cancel(session)
        self.batches.leave(session)

    def close(self) -> None:
        """Stop the helper processes and remove every file."""
        self.reader.close()
        self.predictor.close()
        self._cohorts.close()
        self.sessions.close()


def _shows_lung(study: dict[str, Any]) -> bool:
    """A scan wide enough to be a trunk is first shown in the lung window."""
    geometry = study["geometry"]
    return bool(geometry["unit"] == "HU" and geometry["extent_mm"][0] > _WIDE_MM)


def _answering(worker: Worker) -> Call:
    """Who answers: a GPU lent for each answer where there is one, else the model's process."""
    lent = lent_gpu(tasks.predict)
    if lent is None:
        return worker.call
    return lambda _task, _timeout, _watch, **arguments: lent(**arguments)


def _if_still_there(job: Job, place: Path | None) -> Job:
    """A job just begun. Leaving stops a visitor's jobs and removes their folders, but he may have left while this one was begun."""
    if place is not None and not place.exists():
        job.cancel()
    return job


def _uploaded(folder: Path) -> Path:
    """What to open in a study folder: the one uploaded file, or the folder of all.

    Raises:
        NoImageError: If the upload is no longer kept.
    """
    files = sorted((folder / INCOMING).glob("*"))
    if not files:
        msg = "Expected the upload that was opened before; it has been removed. Upload it again."
        raise NoImageError(msg)
    return files[0] if len(files) == 1 else folder / INCOMING
