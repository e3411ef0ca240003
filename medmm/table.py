"""Rows in and out of CSV, Parquet and JSON Lines, always as text cells or None."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medmm.disk import replacing
from medmm.errors import InputError
from medmm.optional import require

Row = dict[str, str]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def read_rows(path: str | Path, error: type[InputError]) -> list[Row]:
    """Read a table as text; an empty or missing cell is an empty string.

    Args:
        path: `.csv`, `.parquet` or `.jsonl`.
        error: Leaf to raise when it cannot be read.

    Raises:
        InputError: `error`, when the file is missing, empty, of another kind or malformed.
    """
    path = Path(path)
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_jsonl}
    if path.suffix.lower() not in readers or not path.is_file():
        msg = f"Expected an existing table ending in {', '.join(readers)}; got none. Check the path."
        raise error(msg)
    try:
        rows = readers[path.suffix.lower()](path)
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, AttributeError, OSError, ValueError):
        msg = "Expected a readable UTF-8 table; this one is malformed. Save it again as UTF-8."
        raise error(msg) from None
    if not rows:
        msg = "Expected a table with at least one row; got none."
        raise error(msg)
    columns = dict.fromkeys(name for row in rows for name in row)  # lines of JSON need not name the same ones
    return [{name: row.get(name, "") for name in columns} for row in rows]


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV that a spreadsheet cannot mistake for formulas. Replaces the file in one step."""
    with replacing(Path(path)) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([_cell(c) for c in columns])
        writer.writerows([_cell(row.get(c)) for c in columns] for row in rows)


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table in the format its ending names, `.csv`, `.parquet` or `.jsonl`. Replaces the file in one step.

    Args:
        path: File to write.
        columns: Their order.
        rows: Cells: text, whole numbers, floats, or None for a missing one; a column holds one kind.

    Raises:
        InputError: If the ending names no such format.
    """
    path = Path(path)
    writers = {".csv": write_csv, ".parquet": _write_parquet, ".jsonl": _write_jsonl}
    if path.suffix.lower() not in writers:
        msg = f"Expected a file name ending in {', '.join(writers)}; got another. Name one of these."
        raise InputError(msg)
    writers[path.suffix.lower()](path, columns, rows)


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    arrow, parquet = (require(name, "Writing Parquet", "parquet") for name in ("pyarrow", "pyarrow.parquet"))
    listed = list(rows)
    table = arrow.table({c: arrow.array([row.get(c) for row in listed]) for c in columns})
    with replacing(path) as partial:
        parquet.write_table(table, partial, compression="zstd")


def _write_jsonl(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({c: row.get(c) for c in columns}, ensure_ascii=False) + "\n" for row in rows)


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str) and value.lstrip("'").startswith(_FORMULA) and not _is_number(value):
        return "'" + value
    return value


def _unguarded(text: str) -> str:
    """The cell as it was before `_cell` made it safe."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_csv(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        names = reader.fieldnames = [_unguarded(name) for name in reader.fieldnames or []]
        if len(set(names)) != len(names):
            msg = "repeated column"
            raise ValueError(msg)
        rows = []
        for row in reader:
            if None in row:
                msg = "more cells than columns"
                raise ValueError(msg)
            rows.append({k: _unguarded((v or "").strip()) for k, v in row.items()})
        return rows


def _read_parquet(path: Path) -> list[Row]:
    parquet = require("pyarrow.parquet", "Reading Parquet", "parquet")
    return [_as_text(row) for row in parquet.read_table(path).to_pylist()]


def _read_jsonl(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as file:
        return [_as_text(json.loads(line)) for line in file if line.strip()]


def _as_text(row: Mapping[str, Any]) -> Row:
    return {str(k): "" if v is None else str(v).strip() for k, v in row.items()}
