"""What has been measured and can be looked at on the page: shipped results, the visit's own batch, an uploaded metrics.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import medmm
from medmm.errors import MedmmError
from medmm.evaluation.files import METRICS, compare_to_folder, read_results
from medmm.results import Results, RunComparison

_COMMITTED = Path(medmm.__file__).parents[1] / "eval" / "results"


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One `metrics.json`.

    Attributes:
        results: Its content.
        predictions: Run folder or predictions file it was measured from, None where that is not at hand.
    """

    results: Results
    predictions: Path | None = None


def committed(folder: Path = _COMMITTED) -> dict[str, Measured]:
    """The results kept beside the code, by task and model; none in an installed package or a bundle.

    Args:
        folder: With a folder for each model and version.
    """
    found = {}
    for file in sorted(folder.glob("*/*/*.json")):
        try:
            results = read_results(file)
        except MedmmError:
            continue  # of another version: nothing to show
        table = file.with_suffix(".predictions.csv")
        found[title(results, file.parent.name)] = Measured(results, table if table.is_file() else None)
    return found


def of_run(folder: Path) -> Measured | None:
    """A run, None when it was not scored."""
    return Measured(read_results(folder / METRICS), folder) if (folder / METRICS).is_file() else None


def title(results: Results, version: str) -> str:
    """What a list calls them."""
    return f"{results.task} · {results.model.get('name', '-')} · {version}"


def pair(first: Measured, second: Measured) -> RunComparison | None:
    """Paired differences on the samples both answered, None where only numbers are at hand of one.

    Raises:
        MedmmError: As of `compare_to_folder`, when they have no sample in common.
    """
    if first.predictions is None or second.predictions is None:
        return None
    return compare_to_folder((first.predictions, second.predictions), None, None, {})
