"""What ships with medmm: models and example studies, found by name. Imports nothing heavy."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medmm.errors import ModelError

_ASSETS = Path(__file__).parent / "assets"
DEFAULT_MODEL = "sts51"


@dataclass(frozen=True, slots=True)
class Example:
    """An example study that may be shown to anybody.

    Attributes:
        title: For people.
        model: Name of the shipped model made for it.
        path: Zip or folder of images.
        note: Clinical text.
        truth: What is known to be true of it.
        attribution: Source and licence.
    """

    title: str
    model: str
    path: Path
    note: str
    truth: str
    attribution: str


def model_names() -> list[str]:
    """Names of the shipped models."""
    return sorted(p.parent.name for p in (_ASSETS / "models").glob("*/config.json"))


def find_model(name: str | Path | None = None) -> Path:
    """The folder of a shipped model by name, or any model folder by path; the default when None.

    Raises:
        ModelError: If there is neither, or both a shipped model and a model folder of this name.
    """
    wanted = str(name or DEFAULT_MODEL)
    folder = None
    with suppress(OSError):  # no name the file system could hold
        folder = Path(wanted) if Path(wanted).is_dir() else None
    if wanted not in model_names():
        if folder is not None:
            return folder
        msg = f"Expected a model folder or one of the shipped models {', '.join(model_names())}; got neither."
        raise ModelError(msg)
    if name is not None and folder is not None and (folder / "config.json").exists():
        msg = f"Expected one model; {wanted} is a shipped one and a folder here too. Say ./{wanted} for the folder, or rename it."
        raise ModelError(msg)
    return _ASSETS / "models" / wanted


def examples() -> list[Example]:
    """The shipped example studies."""
    folder = _ASSETS / "examples"
    listing = folder / "examples.json"
    entries = json.loads(listing.read_text(encoding="utf-8")) if listing.exists() else []
    return [Example(**{**entry, "path": folder / entry["path"]}) for entry in entries]


def example_cohort() -> Path | None:
    """The table of the example studies that belong to the default model, with what is known to be true of them."""
    table = _ASSETS / "examples" / "cohort.csv"
    return table if table.is_file() else None
