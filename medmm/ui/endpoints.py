"""What programs call: the same road as a visitor's, with files, a note and values in and a document out."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
from gradio.events import api
from pydantic import BaseModel, ValidationError

from medmm.errors import InputError
from medmm.ui.jobs import watched
from medmm.ui.page import Page

_AT_ONCE = 16  # the line is ours: few of them work


class _Question(BaseModel):
    study: list[str]
    note: str | None
    values: dict[str, str | float]
    model: str
    series: str | None
    repair: list[str]


def build(page: Page) -> None:
    """Register the public endpoints within the Blocks being laid out."""

    async def predict(
        request: gr.Request,
        study: list[str] | None = None,
        note: str | None = None,
        values: dict[str, str] | None = None,
        model: str | None = None,
        series: str | None = None,
        repair: list[str] | None = None,
    ) -> dict[str, Any]:
        """Answer for one study. Research use only, not for diagnosis; send nothing that names a patient.

        Args:
            request: Of the program.
            study: Files of one study: DICOM, one zip of it, NIfTI, PNG or JPEG, each as POST /gradio_api/upload returned it.
            note: Clinical text.
            values: Patient values by name, as text; /models says which a model reads.
            model: Name, as /models says; the first one when left out.
            series: SeriesInstanceUID, when the study has several that are equally good.
            repair: What may be mended of a series that is no regular volume: fill, resample, deskew, force.

        Returns:
            The document of `medmm predict --json`: calibrated probabilities, what each input said, warnings.
        """
        asked = _checked(
            study=_paths(study), note=note, values=values or {}, model=model or page.models()[0], series=series, repair=repair or []
        )
        session = str(request.session_hash)
        with page.sessions.passing() as folder:
            if asked.study:
                read = (asked.study, folder, session)
                await asyncio.to_thread(page.take_in, *read, series=asked.series, repair=asked.repair)
            cells = {name: str(value) for name, value in asked.values.items()}
            job = page.ask_about(folder if asked.study else None, asked.note, asked.model, session, values=cells)
            async for _ in watched(job, str):
                pass
            return job.result()

    async def models() -> list[dict[str, Any]]:
        """The models that can be asked: name, labels, which inputs and values each reads, and its card."""
        told = [await asyncio.to_thread(page.about, name) for name in page.models()]
        return [{key: about[key] for key in ("name", "labels", "modalities", "tabular", "card")} for about in told]

    api(predict, concurrency_limit=_AT_ONCE)
    api(models)


def _paths(study: Any) -> Any:
    """Paths of uploaded files: each as such, or what Gradio's client makes of a file."""
    files = study if isinstance(study, list) else [study] if study else []
    return [file.get("path") if isinstance(file, dict) else file for file in files]


def _checked(**given: Any) -> _Question:
    """What was asked, when all of it is of its type.

    Raises:
        InputError: With the names of the inputs that are not.
    """
    try:
        return _Question(**given)
    except ValidationError as error:
        wrong = ", ".join(sorted({str(each["loc"][0]) for each in error.errors(include_input=False, include_url=False)}))
        msg = (
            "Expected uploaded files as study, text as note, model and series, an object of names and values as values, and "
            f"a list as repair; got something else as {wrong}. See /gradio_api/info."
        )
        raise InputError(msg) from None
