"""`medmm eval ls` and `show`: the runs under a folder, one line each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medmm.errors import MedmmError
from medmm.evaluation.about import is_run, read_about
from medmm.evaluation.files import METRICS, read_results

_DEPTH = 4


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """Every run or scored folder under `folder`, by name: where, what, how many, whether scored.

    A folder that cannot be read is listed with its error code, not left out.
    """
    return [_entry(path, folder) for path in sorted(_runs(folder, _DEPTH))]


def _runs(folder: Path, depth: int) -> Iterator[Path]:
    if is_run(folder) or (folder / METRICS).is_file():
        yield folder
        return
    if depth and folder.is_dir():
        for inner in sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink()):
            yield from _runs(inner, depth - 1)


def _entry(path: Path, root: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"run": str(path.relative_to(root)), "task": "", "model": "", "status": "", "scored": False}
    try:
        if is_run(path):
            about = read_about(path)
            entry |= {"task": about["task"]["name"], "model": about["model"].get("name", ""), "status": about["status"]}
            entry["samples"] = about.get("counts", {}).get("total")
        if (path / METRICS).is_file():
            results = read_results(path / METRICS)
            entry |= {"task": results.task, "model": results.model.get("name", ""), "scored": True, "samples": results.counts.total}
            entry["split"] = results.split
    except MedmmError as error:
        entry["error"] = error.code
    return entry
