"""Masks of a cohort to tabular values: one column for each region and measurement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from medmm.errors import CohortError, MaskError, MedmmError
from medmm.shape import Shape, shape_of
from medmm.sources.mask import read_mask
from medmm.table import Row, read_rows, write_rows
from medmm.types import OnProgress

MEASURED = tuple(f.name for f in fields(Shape))


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of the masks of a cohort.

    Attributes:
        columns: That were added.
        read, missing: Studies with a mask that could be read, and without one.
        failed: How many could not be read, by code.
    """

    columns: tuple[str, ...]
    read: int
    missing: int
    failed: dict[str, int]


def measure_cohort(
    cohort: str | Path,
    out: str | Path,
    regions: Mapping[str, int],
    *,
    column: str = "mask",
    on_progress: OnProgress = lambda *_: None,
) -> Measured:
    """Write a cohort with the measurements of its masks as columns `<region>_<measurement>`.

    Cells of a study without a mask, or with one that cannot be read, stay empty: the values are missing.

    Args:
        cohort: Table with paths of NIfTI masks in `column`, relative to it.
        out: Table to write, in the same folder, as its paths are relative to it.
        regions: Name of each region and its number in the masks.
        column: Of the masks.
        on_progress: Told after each study.

    Raises:
        CohortError: If there is no such column, `out` lies elsewhere, or a column would be overwritten.
        MaskError: If no mask could be read.
    """
    cohort, out = Path(cohort), Path(out)
    rows = read_rows(cohort, CohortError)
    added = tuple(f"{region}_{name}" for region in regions for name in MEASURED)
    _refuse(cohort, out, rows[0], column, added)
    failed: Counter[str] = Counter()
    measured: list[dict[str, object]] = []
    for done, row in enumerate(rows):
        cells: dict[str, object] = {}
        if row[column]:
            try:
                cells = _cells(cohort.parent / row[column], regions)
            except MedmmError as error:
                failed[error.code] += 1
        measured.append({**row, **cells})
        on_progress("measuring masks", done + 1, len(rows))
    missing = sum(not row[column] for row in rows)
    if not (read := len(rows) - missing - failed.total()):
        msg = f"Expected masks in the column {column!r} that can be read; got none of {len(rows)}. Check the paths."
        raise MaskError(msg)
    write_rows(out, [*rows[0], *added], measured)
    return Measured(added, read, missing, dict(failed))


def _cells(path: Path, regions: Mapping[str, int]) -> dict[str, object]:
    mask = read_mask(path)
    found: dict[str, object] = {}
    for region, number in regions.items():
        nth = mask.labels.index(number) + 1 if number in mask.labels else 256  # stands nowhere
        shape = asdict(shape_of(mask.values == nth, mask.affine))
        found |= {f"{region}_{name}": None if value is None else f"{value:.6g}" for name, value in shape.items()}
    return found


def _refuse(cohort: Path, out: Path, row: Row, column: str, added: tuple[str, ...]) -> None:
    if column not in row:
        msg = f"Expected a column {column!r} with the paths of masks; the cohort has none. Name it with --column."
        raise CohortError(msg)
    if out.resolve().parent != cohort.resolve().parent or out.resolve() == cohort.resolve():
        msg = "Expected a new file in the folder of the cohort, as its paths are relative to it; got another folder or the cohort."
        raise CohortError(msg)
    if taken := sorted(set(added) & set(row)):
        msg = f"Expected new columns; the cohort has {', '.join(taken)} already. Name the regions otherwise."
        raise CohortError(msg)
