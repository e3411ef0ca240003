"""The measured runs under a folder: found, filtered, opened. Testable without a browser."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from medmm.errors import MedmmError, PredictionsError
from medmm.evaluation.files import compare_to_folder, read_results
from medmm.results import Results, RunComparison
from medmm.store import FILE as STORE
from medmm.ui.cases import Case, read_cases

_MOST_FILES, _LARGEST = 5000, 32 << 20
_SCHEMA = b'"medmm.metrics/2"'
_HEAD = 200


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One `metrics.json`.

    Attributes:
        name: Where it lies below the folder; unique.
        file: The file.
        results: Its content.
    """

    name: str
    file: Path
    results: Results

    @property
    def folder(self) -> Path | None:
        """The run folder, None where the predictions are not at hand."""
        return self.file.parent if (self.file.parent / STORE).is_file() else None


class Runs:
    """What lies under a folder, read once.

    Args:
        folder: Searched with everything below it, links not followed.

    Raises:
        PredictionsError: If there is no measured run.
    """

    def __init__(self, folder: Path) -> None:
        self._runs = {run.name: run for run in _find(folder)}
        if not self._runs:
            msg = "Expected a folder with measured runs below it; there is none. Run `medmm eval score` first."
            raise PredictionsError(msg)
        self.cases = lru_cache(maxsize=4)(self._cases)

    def names(self) -> list[str]:
        """Of all runs, in order of name."""
        return list(self._runs)

    def tasks(self) -> list[str]:
        """Tasks that occur."""
        return sorted({run.results.task for run in self._runs.values()})

    def get(self, name: str) -> Run:
        """One run.

        Raises:
            PredictionsError: If there is none of this name.
        """
        if name not in self._runs:
            msg = "Expected one of the runs in the list; got another. Choose one."
            raise PredictionsError(msg)
        return self._runs[name]

    def matching(self, words: str, task: str) -> list[Run]:
        """Runs of a task, all when empty, in whose name, model, split or task every word occurs."""
        wanted = words.lower().split()
        return [
            run for run in self._runs.values() if task in ("", run.results.task) and all(word in _searched(run) for word in wanted)
        ]

    def compare(self, first: str, second: str) -> RunComparison:
        """Paired differences of two runs on the samples both answered, by the task of the first.

        Raises:
            PredictionsError: If the predictions of one are not at hand, or they answer different questions.
            MedmmError: If a run cannot be read or compared.
        """
        folders = [run.folder for run in map(self.get, (first, second)) if run.folder is not None]
        if len(folders) < 2:
            msg = "Expected the predictions of both runs, to pair them; of one there are only numbers. Choose two run folders."
            raise PredictionsError(msg)
        return compare_to_folder((folders[0], folders[1]), None, None, {})

    def _cases(self, name: str) -> tuple[Case, ...]:
        """Every sample of a run, those most confidently wrong first; nothing where the predictions are not at hand."""
        run = self.get(name)
        return read_cases(run.folder, run.results) if run.folder is not None else ()


def _find(folder: Path) -> list[Run]:
    found = []
    for file in islice(sorted(folder.rglob("*.json")), _MOST_FILES):
        if file.is_symlink() or not file.is_file() or file.stat().st_size > _LARGEST or not _is_measured(file):
            continue
        try:
            results = read_results(file)
        except MedmmError:
            continue  # of another version, or damaged: no run to show
        place = file.relative_to(folder)
        found.append(Run((place.parent if place.name == "metrics.json" else place.with_suffix("")).as_posix(), file, results))
    return found


def _is_measured(file: Path) -> bool:
    with file.open("rb") as content:
        return _SCHEMA in content.read(_HEAD)


def _searched(run: Run) -> str:
    r = run.results
    return " ".join((run.name, r.task, r.split, r.model.get("name", ""), r.question)).lower()
