"""The work behind the page, done in processes of its own: one reads foreign bytes, one holds the model.

Started as `python -m medmm.ui.tasks reader|model` by a `medmm.worker.Worker`. The reader opens each
study in a child with limits and never imports torch; the model never sees an upload.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from medmm.worker import Task, serve


def read(path: str, folder: str) -> dict[str, Any]:
    """Open a study, leave it checked in `folder`, and describe it."""
    from medmm.sources import open_study
    from medmm.sources.spool import write_study
    from medmm.ui.pack import write_pack

    study = open_study(path)
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
        "results": None if results is None else json.loads(results.to_json()),
        "card": folder.card,
    }


def predict(folder: str | None, note: str | None, model: str | None) -> dict[str, Any]:
    """Answer for the study in `folder` and this note."""
    from medmm.sources.spool import read_study
    from medmm.sources.text import make_note
    from medmm.study import Study

    study = read_study(Path(folder)) if folder else Study()
    predictor = _predictor(model)
    read = make_note(note) if note else None
    prediction = predictor.predict(study.with_note(read))
    tokenizer = predictor.folder.preprocessor.tokenizer
    used = tokenizer.used_text(read.text) if read and tokenizer is not None else ""
    return {**prediction.to_dict(), "text_used": used}


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
