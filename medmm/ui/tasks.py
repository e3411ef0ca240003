"""The work behind the page, done in processes of its own: one reads foreign bytes, one holds the model.

Started as `python -m medmm.ui.tasks reader|model` by a `medmm.worker.Worker`. The reader opens each
study in a child with limits and never imports torch; the model never sees an upload.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from medmm.errors import CorruptError, PhiError
from medmm.worker import Task, serve

if TYPE_CHECKING:
    from medmm.deid.findings import Finding


def read(path: str, folder: str, public: bool = False) -> dict[str, Any]:
    """Open a study, leave it checked in `folder`, and describe it.

    Raises:
        PhiError: If its files name the patient and others than its owner use this page.
    """
    from medmm.sources import open_study
    from medmm.sources.privacy import check_phi
    from medmm.sources.spool import write_study
    from medmm.study import Notice
    from medmm.ui.pack import write_pack

    study = open_study(path)
    try:
        named = _kinds(check_phi(path), public)
    except CorruptError:  # a file that the reader left out; what its header says goes nowhere
        named = "" if not public else _refuse("a header that cannot be checked")
    if named:
        message = f"The files name their patient ({named}). Nothing of that is kept here; `medmm deid` removes it from the files."
        study = study.with_notices(Notice("W_IDENTIFIERS", message))
    write_study(study, Path(folder))
    return {
        "pack": write_pack(study.volumes[0], Path(folder)),
        "study": study.summary(),
        "warnings": [{"code": n.code, "message": n.message} for n in study.notices],
    }


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


def predict(folder: str | None, note: str | None, model: str | None, public: bool = False) -> dict[str, Any]:
    """Answer for the study in `folder` and this note.

    Raises:
        PhiError: If the note names the patient and others than its author use this page.
    """
    from medmm.deid.findings import check_note
    from medmm.sources.spool import read_study
    from medmm.sources.text import make_note
    from medmm.study import Study

    _kinds(check_note(note or ""), public)
    study = read_study(Path(folder)) if folder else Study()
    predictor = _predictor(model)
    read = make_note(note) if note else None
    prediction = predictor.predict(study.with_note(read))
    tokenizer = predictor.folder.preprocessor.text
    used = tokenizer.used_text(read.text) if read and tokenizer is not None else ""
    return {**prediction.to_dict(), "text_used": used}


def _kinds(findings: Iterable[Finding], public: bool) -> str:
    """What alone can identify the patient, in words; refused where others use the page."""
    named = ", ".join(sorted({f.kind for f in findings if f.direct}))
    return _refuse(named) if named and public else named


def _refuse(named: str) -> NoReturn:
    msg = f"Expected nothing that names the patient on a page that others use; found: {named}. Run `medmm deid` first."
    raise PhiError(msg)


@lru_cache(maxsize=2)
def _predictor(model: str | None) -> Any:
    from medmm.inference import load_model

    return load_model(model)


def _reader() -> dict[str, Task]:
    from medmm.sources.cell import confined, preload, tell_what_is_missing

    tell_what_is_missing()
    preload()
    return {"read": confined(read)}


def _model() -> dict[str, Task]:
    return {"warm": warm, "predict": predict}


if __name__ == "__main__":
    serve({"reader": _reader, "model": _model}[sys.argv[1]])
