"""This package as an installed one: its files and its metadata, to lie beside `app.py`.

A Space installs its requirements before its own files are there, so that a wheel among them could not be
named. What a wheel would unpack to needs no installing.
"""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import medmm
from medmm.disk import replace_bytes
from medmm.errors import DependencyError
from medmm.space.checks import CACHE

_METADATA = ("METADATA", "entry_points.txt", "licenses/LICENSE")


def copy_package(folder: Path) -> None:
    """Copy the running package into a folder, without its models and examples, with the metadata it was installed with.

    Raises:
        DependencyError: If it is not installed, only imported.
    """
    source = Path(medmm.__file__).parent
    shutil.copytree(source, folder / source.name, ignore=_not_shipped)
    try:
        metadata = distribution("medmm")
    except PackageNotFoundError:
        msg = "Expected medmm to be installed, as its metadata go along; it is only imported. Install it with pip."
        raise DependencyError(msg) from None
    into = folder / f"medmm-{metadata.version}.dist-info"
    for name in _METADATA:
        text = metadata.read_text(name)
        if text is not None:
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            replace_bytes(into / name, text.encode())
    replace_bytes(folder / "LICENSE", (metadata.read_text(_METADATA[-1]) or "").encode())


def _not_shipped(folder: str, names: list[str]) -> set[str]:
    here = Path(folder).relative_to(Path(medmm.__file__).parent)
    if here == Path("assets"):
        return set(names)
    return {name for name in names if name.startswith(".") or name == CACHE or name.endswith((".pyc", ".partial"))}
