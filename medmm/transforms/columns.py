"""Tabular values to numbers a network reads: standardised quantities and categories by place in a vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict

from medmm.errors import CohortError
from medmm.study import UNBOUNDED, Category, Notice, Quantity, Study, read_number
from medmm.types import FloatArray

_MOST_CATEGORIES = 64
_SKEWED = 1.5  # skewness beyond which quantities of no less than zero are read as logarithms


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A quantity as it was among the training patients.

    Attributes:
        name, unit: What it measures.
        low, high: Smallest and largest; what lies outside is read as the nearest of them.
        mean, sd: For standardising; sd is 1 where all were alike.
        log: Whether log(1 + value) is standardised instead, as for volumes and concentrations that few patients have much of.
        believable: Least and largest believable value; what lies outside is refused.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    unit: str
    low: float
    high: float
    mean: float
    sd: float
    log: bool = False
    believable: tuple[float, float] = UNBOUNDED


@dataclass(frozen=True, slots=True)
class CategoryColumn:
    """A category and the words it had among the training patients; any other is read as unknown."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TableRecipe:
    """How tabular values become network input; stored with the weights.

    Attributes:
        numbers, categories: Columns, in the order of the input.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    numbers: tuple[NumberColumn, ...] = ()
    categories: tuple[CategoryColumn, ...] = ()

    @property
    def fields(self) -> tuple[Quantity | Category, ...]:
        """What to ask of a patient, for forms and tables."""
        asked = [Quantity(c.name, c.unit, *c.believable) for c in self.numbers]
        return (*asked, *(Category(c.name, c.words) for c in self.categories))

    def about(self) -> list[dict[str, Any]]:
        """Name, kind, unit and range or words of each column, JSON ready."""
        numbers = [{"name": c.name, "kind": "number", "unit": c.unit, "low": c.low, "high": c.high} for c in self.numbers]
        return numbers + [{"name": c.name, "kind": "category", "words": list(c.words)} for c in self.categories]

    def read(self, study: Study) -> tuple[tuple[torch.Tensor, torch.Tensor], list[Notice]]:
        """(numbers,) float, NaN where missing, and (categories,) int: 0 missing, 1 unknown, then the words.

        The notices name values outside the range of the training patients, and words they did not have.
        """
        given = {} if study.values is None else study.values.known
        numbers = np.array([_standardised(c, given.get(c.name)) for c in self.numbers], dtype=np.float32)
        places = np.array([_place(c, given.get(c.name)) for c in self.categories], dtype=np.int64)
        outside = [c.name for c in self.numbers if c.name in given and not c.low <= float(given[c.name]) <= c.high]
        unknown = [c.name for c, place in zip(self.categories, places, strict=True) if place == 1]
        notices = []
        if outside:
            message = f"Outside the range of the training patients, and read as its nearest end: {', '.join(outside)}."
            notices.append(Notice("W_VALUE_RANGE", message))
        if unknown:
            notices.append(
                Notice("W_VALUE_UNKNOWN", f"No training patient had this value, so it counts as unknown: {', '.join(unknown)}.")
            )
        return (torch.from_numpy(numbers), torch.from_numpy(places)), notices

    def stack(self, inputs: Sequence[tuple[torch.Tensor, ...] | None]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, numbers) and (B, categories) as of `read`; all missing where a sample has none."""
        nothing = torch.full((len(self.numbers),), torch.nan), torch.zeros(len(self.categories), dtype=torch.int64)
        rows = [nothing if given is None else given for given in inputs]
        return torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])


def plan_table(
    columns: Mapping[str, Sequence[str]], units: Mapping[str, str], believable: Mapping[str, tuple[float, float]] | None = None
) -> TableRecipe:
    """Learn ranges, means and words of named columns from the training rows.

    A column of numbers is a quantity, any other a category of at most 64 words.

    Args:
        columns: Name to the cells of all rows, empty where missing.
        units: Name to unit, where one is stated.
        believable: Name to least and largest believable value, where these are stated.

    Raises:
        CohortError: If a column is empty, or text that is no category.
    """
    numbers: list[NumberColumn] = []
    categories: list[CategoryColumn] = []
    for name, cells in columns.items():
        filled = [cell for cell in cells if cell]
        if not filled:
            msg = f"Expected values in the column {name} of the training rows; it is empty. Leave it out of tabular."
            raise CohortError(msg)
        values = _as_numbers(filled)
        if values is not None:
            numbers.append(_number_column(name, units.get(name, ""), values, (believable or {}).get(name, UNBOUNDED)))
            continue
        words = Counter(filled)
        if len(words) > _MOST_CATEGORIES:
            msg = f"Expected numbers or at most {_MOST_CATEGORIES} different words in the column {name}; got {len(words)}."
            raise CohortError(msg + " Is it text? Name it note, or leave it out of tabular.")
        categories.append(CategoryColumn(name, tuple(sorted(words))))
    return TableRecipe(tuple(numbers), tuple(categories))


def is_skewed(values: FloatArray) -> bool:
    """Whether known values (n,), none below zero, have a long tail upwards, so that their logarithms are read instead."""
    away = values - values.mean() if len(values) else np.zeros(1)
    skewness = float((away**3).mean() / ((away**2).mean() ** 1.5 or 1.0))
    return skewness > _SKEWED and float(values.min()) >= 0


def _number_column(name: str, unit: str, values: FloatArray, believable: tuple[float, float]) -> NumberColumn:
    low, high = float(values.min()), float(values.max())
    log = is_skewed(values)
    measured = np.log1p(values) if log else values
    return NumberColumn(name, unit, low, high, float(measured.mean()), float(measured.std()) or 1.0, log, believable)


def _as_numbers(cells: Sequence[str]) -> Any:
    values = np.array([read_number(cell) for cell in cells], dtype=float)  # NaN where there is none
    return values if np.isfinite(values).all() else None


def _standardised(column: NumberColumn, value: float | str | None) -> float:
    if value is None:
        return np.nan
    inside = min(max(float(value), column.low), column.high)
    return ((np.log1p(inside) if column.log else inside) - column.mean) / column.sd


def _place(column: CategoryColumn, value: float | str | None) -> int:
    if value is None:
        return 0
    return column.words.index(str(value)) + 2 if value in column.words else 1
