"""Tabular values of one patient from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medmm.errors import ValuesError
from medmm.study import Category, Quantity, Values, refuse_unknown
from medmm.table import read_rows

if TYPE_CHECKING:
    from medmm.transforms.columns import TableRecipe

_MAX_BYTES = 1 << 20


def given_values(recipe: TableRecipe | None, texts: Sequence[str], file: Path | None) -> Values | None:
    """What a model is to read of `name=value` texts and of a file, the texts winning; None when nothing was given.

    Args:
        recipe: What the model reads, None when it reads no values.
        texts: Each `name=value`; an empty value is a missing one.
        file: A JSON object of names and values, or a table of one row.

    Raises:
        ValuesError: If a name is not one the model reads (the message names the nearest), or a value does not fit.
    """
    cells = _read(file) if file is not None else {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            msg = "Expected --value as name=value; got no equals sign. Leave the part after it empty for a missing value."
            raise ValuesError(msg)
        cells[name.strip()] = value.strip()
    if not cells:
        return None
    fields: tuple[Quantity | Category, ...] = () if recipe is None else recipe.fields
    refuse_unknown(cells, fields)
    return Values.from_cells(fields, cells)


def _read(file: Path) -> dict[str, str]:
    if file.suffix.lower() != ".json":
        rows = read_rows(file, ValuesError)
        if len(rows) != 1:
            msg = f"Expected a table of values with one row, that of the patient; got {len(rows)}."
            raise ValuesError(msg)
        return dict(rows[0])
    try:
        with file.open("rb") as opened:
            content = json.loads(opened.read(_MAX_BYTES))
    except (OSError, ValueError):
        msg = "Expected a readable JSON file of values under 1 MB; it is not. Check its path and content."
        raise ValuesError(msg) from None
    if not isinstance(content, dict) or any(isinstance(value, (dict, list, bool)) for value in content.values()):
        msg = "Expected a JSON object of names and values, null where missing; got something else."
        raise ValuesError(msg)
    return {str(name): "" if value is None else str(value) for name, value in content.items()}
