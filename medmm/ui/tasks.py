"""The work behind the page, done in processes of its own: one reads foreign bytes, one holds the model.

Started as `python -m medmm.ui.tasks reader|model|batch` by a `medmm.worker.Worker`. The reader opens each
study in a child with limits and never imports torch; the model never sees an upload.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from medmm.errors import CorruptError, PhiError
from medmm.ui.cohort_tasks import check_metrics, predict_cohort, prepare, unpack
from medmm.worker import Task, serve, tell

if TYPE_CHECKING:
    from medmm.deid.findings import Finding
    from medmm.dictation import Recogniser
    from medmm.inference import Predictor
    from medmm.study import Values


def inspect(path: str, public: bool = False, repair: Sequence[str] = ()) -> dict[str, Any]:
    """Say what lies there before anything of it is read: series, geometry, what is left out, what names the patient.

    Raises:
        PhiError: If its files name the patient and others than its owner use this page.
    """
    from medmm.sources.inspection import inspect_path

    inspection = inspect_path(path, repair)
    return {**inspection.to_dict(), "identifiers": _named_in(path, public)}


def read(
    path: str, folder: str, public: bool = False, series: str | None = None, repair: Sequence[str] = (),
    identifiers: Sequence[str] | None = None, seen: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Open a study, leave it checked in `folder`, and describe it.

    Args:
        path: As for `open_study`.
        folder: Where to leave it.
        public: Whether what names the patient is refused.
        series: As for `open_study`.
        repair: As for `open_study`.
        identifiers: What `inspect` found in these files, so that no header is searched twice; None to search them now.
        seen: Whether a viewer shows it.

    Raises:
        PhiError: If its files name the patient and others than its owner use this page.
    """
    from medmm.sources.opener import open_study
    from medmm.sources.spool import write_study
    from medmm.study import Notice
    from medmm.ui.pack import write_pack

    study = open_study(path, series=series, repair=repair)
    named = ", ".join(_named_in(path, public) if identifiers is None else _allowed(identifiers, public))
    if named:
        message = f"The files name their patient ({named}). Nothing of that is kept here; `medmm deid` removes it from the files."
        study = study.with_notices(Notice("W_IDENTIFIERS", message))
    write_study(study, Path(folder))
    return {
        "pack": write_pack(study.volumes[0], Path(folder)) if seen else None,
        "study": study.summary(),
        "warnings": [{"code": n.code, "message": n.message} for n in study.notices],
    }


def cover(path: str, folder: str, pack: dict[str, Any], name: str, public: bool = False) -> dict[str, Any]:
    """Lay a mask over the study in `folder`, in place of the one before.

    Args:
        path: Of the mask.
        folder: With what `read` left.
        pack: What the viewer was told of the study.
        name: What the viewer calls the mask.
        public: Whether what names the patient is refused.

    Returns:
        What the viewer is to be told now.

    Raises:
        MaskError: If it is no mask of this study.
    """
    from medmm.sources.mask import read_mask
    from medmm.sources.spool import read_study
    from medmm.ui.pack import write_overlay

    _named_in(path, public)
    mask = read_mask(path, read_study(Path(folder)).volumes[0].grid)
    bare = {key: value for key, value in pack.items() if key != "overlays"}
    write_overlay(name, mask.values, mask.affine, Path(folder), bare, [str(label) for label in mask.labels])
    return bare


def hear(path: str, folder: str) -> dict[str, Any]:
    """Read a recording and leave it checked in `folder`."""
    from medmm.sources.opener import open_study
    from medmm.sources.spool import write_study

    study = open_study(None, audio=path)
    assert study.recording is not None
    write_study(study, Path(folder))
    return {"seconds": round(study.recording.seconds, 1)}


def transcribe(folder: str, recogniser: str) -> dict[str, Any]:
    """Write down the recording in `folder`: its words, and how sure the recogniser was of them."""
    from medmm.sources.spool import read_study

    recording = read_study(Path(folder)).recording
    assert recording is not None
    heard = _recogniser(recogniser).transcribe(recording)
    return {"text": heard.text, "confidence": heard.confidence}


def warm(model: str | None) -> dict[str, Any]:
    """Load a model before anybody waits for it; describe it."""
    predictor = _predictor(model)
    folder = predictor.folder
    results = folder.results
    return {
        "name": folder.name,
        "labels": list(predictor.labels),
        "modalities": list(folder.model.config.modalities),
        "tabular": folder.preprocessor.tabular.about() if folder.preprocessor.tabular is not None else [],
        "results": None if results is None else json.loads(results.to_json()),
        "card": folder.card,
    }


def used(note: str, model: str | None) -> dict[str, Any]:
    """The part of a note that a model reads, and what is to be known of it, without an answer."""
    from medmm.sources.text import make_note

    predictor = _predictor(model)
    made = make_note(note)
    tokenizer = predictor.folder.preprocessor.text
    notices = [*made.notices, *(tokenizer.encode(made.text)[1] if made and tokenizer is not None else ())]
    return {"text_used": predictor.text_used(made), "warnings": [{"code": n.code, "message": n.message} for n in notices]}


def predict(
    folder: str | None, note: str | None, model: str | None, public: bool = False, confidence: float = 1.0,
    values: Mapping[str, str] | None = None, recording: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Answer for the study in `folder`, this note and these values.

    Args:
        folder: With what `read` left, None without a scan.
        note: Text, None without one.
        model: As for `load_model`.
        public: Whether what names the patient is refused.
        confidence: How sure a recogniser was of the note; 1 when a person wrote it or read it over.
        values: Name of each value the model reads to its text; an empty one is missing.
        recording: Folder with what `hear` left, for a model that reads audio; None without.

    Raises:
        PhiError: If the note names the patient and others than its author use this page.
    """
    from medmm.deid.findings import check_note
    from medmm.sources.spool import read_study
    from medmm.sources.text import make_note
    from medmm.study import Study

    _kinds(check_note(note or ""), public)
    tell("reading")
    study = read_study(Path(folder)) if folder else Study()
    tell("loading")
    predictor = _predictor(model)
    written = replace(make_note(note), confidence=confidence) if note else None
    heard = read_study(Path(recording)).recording if recording else None
    study = replace(study, note=written, values=_values(predictor, values or {}), recording=heard)
    document: dict[str, Any] = predictor.predict(study, tell).to_dict(with_text=True)
    return document


def _values(predictor: Predictor, cells: Mapping[str, str]) -> Values | None:
    from medmm.study import Values, refuse_unknown

    recipe = predictor.folder.preprocessor.tabular
    fields = recipe.fields if recipe is not None else ()
    refuse_unknown(cells, fields)
    return Values.from_cells(fields, cells) if any(cells.values()) else None


def _named_in(path: str, public: bool) -> list[str]:
    """Kinds of what names the patient in the files under a path; refused where others use the page."""
    from medmm.sources.privacy import check_phi

    try:
        return _kinds(check_phi(path), public)
    except CorruptError:  # a file that the reader left out; what its header says goes nowhere
        return [] if not public else _refuse("a header that cannot be checked")


def _kinds(findings: Iterable[Finding], public: bool) -> list[str]:
    """Kinds of what alone can identify the patient; refused where others use the page."""
    return _allowed(sorted({f.kind for f in findings if f.direct}), public)


def _allowed(named: Sequence[str], public: bool) -> list[str]:
    return _refuse(", ".join(named)) if named and public else list(named)


def _refuse(named: str) -> NoReturn:
    msg = f"Expected nothing that names the patient on a page that others use; found: {named}. Run `medmm deid` first."
    raise PhiError(msg)


@lru_cache(maxsize=2)
def _predictor(model: str | None) -> Predictor:
    from medmm.inference import load_model

    return load_model(model)


@lru_cache(maxsize=1)
def _recogniser(source: str) -> Recogniser:
    from medmm.dictation import Recogniser

    return Recogniser(source)


def _reader() -> dict[str, Task]:
    from medmm.sources.cell import confined, preload, tell_what_is_missing

    tell_what_is_missing()
    preload()
    tasks = (inspect, read, cover, hear, unpack, check_metrics)
    return {task.__name__: confined(task) for task in tasks}


def _model() -> dict[str, Task]:
    return {"warm": warm, "used": used, "predict": predict, "transcribe": transcribe}


def _batch() -> dict[str, Task]:
    return {"prepare": prepare, "predict_cohort": predict_cohort}


if __name__ == "__main__":
    serve({"reader": _reader, "model": _model, "batch": _batch}[sys.argv[1]])
