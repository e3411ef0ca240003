"""Tabular values: what training learns of them, and what is said when a patient is unlike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medmm.errors import CohortError, ValuesError
from medmm.study import Category, Quantity, Study, Values
from medmm.transforms.columns import CategoryColumn, NumberColumn, TableRecipe, plan_table

RECIPE = plan_table({"age": ["40", "60", "", "80"], "sex": ["f", "m", "f", ""], "flat": ["1", "1", "1", "1"]}, {"age": "years"})


def read(**cells: str) -> tuple[list[float], list[int], list[str]]:
    (numbers, places), notices = RECIPE.read(Study(values=Values.from_cells(RECIPE.fields, cells)))
    return numbers.tolist(), places.tolist(), [n.code for n in notices]


def test_training_rows_give_ranges_means_and_words() -> None:
    age, flat = RECIPE.numbers
    assert age == NumberColumn("age", "years", 40, 80, 60, pytest.approx(16.33, abs=0.01))
    assert flat.sd == 1
    assert RECIPE.categories == (CategoryColumn("sex", ("f", "m")),)
    assert RECIPE.fields == (Quantity("age", "years"), Quantity("flat", ""), Category("sex", ("f", "m")))


def test_values_are_standardised_and_missing_ones_are_marked() -> None:
    numbers, places, notices = read(age="60", sex="m", flat="1")
    assert (numbers, places, notices) == ([0, 0], [3], [])
    numbers, places, notices = read(age="80")
    assert numbers[0] == pytest.approx(1.2247, abs=1e-4)
    assert numbers[1] != numbers[1]
    assert (places, notices) == ([0], [])


def test_what_no_training_patient_had_is_said() -> None:
    numbers, places, notices = read(age="130", sex="x", flat="1")
    assert numbers[0] == pytest.approx(1.2247, abs=1e-4)  # read as the oldest
    assert places == [1]
    assert notices == ["W_VALUE_RANGE", "W_VALUE_UNKNOWN"]


def test_the_limit_of_a_laboratory_is_read_as_the_limit() -> None:
    recipe = plan_table({"egfr": ["30", ">=90", "60", "\u2264 30", ""]}, {})
    (egfr,) = recipe.numbers
    assert (egfr.low, egfr.high, egfr.mean) == (30, 90, pytest.approx(52.5))
    read = [recipe.read(Study(values=Values.from_cells(recipe.fields, {"egfr": cell})))[0][0].item() for cell in (">= 90", "90")]
    assert read[0] == read[1]


def test_quantities_that_few_have_much_of_are_read_as_logarithms() -> None:
    volumes = [0.0, 1, 2, 3, 4, 5, 900]
    recipe = plan_table({"ml": [f"{v:g}" for v in volumes], "below zero": ["-1", *"234567"], "even": list("1234567")}, {})
    assert [c.log for c in recipe.numbers] == [True, False, False]
    (numbers, _), _ = recipe.read(Study(values=Values.from_cells(recipe.fields, {"ml": "900", "even": "7"})))
    logs = np.log1p(volumes)
    assert numbers[0] == pytest.approx((logs[-1] - logs.mean()) / logs.std(), rel=1e-5)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValuesError):
        read(age="old")


def test_a_batch_has_rows_of_missing_values_for_those_without() -> None:
    given, _ = RECIPE.read(Study(values=Values.from_cells(RECIPE.fields, {"age": "60", "sex": "f", "flat": "1"})))
    numbers, places = RECIPE.stack([given, None])
    assert places.tolist() == [[2], [0]]
    assert torch.equal(numbers.isnan(), torch.tensor([[False, False], [True, True]]))


@pytest.mark.parametrize(("cells", "message"), [(["", ""], "column x"), ([f"free text {i}" for i in range(80)], "at most 64")])
def test_a_column_that_is_no_table_value_is_refused(cells: list[str], message: str) -> None:
    with pytest.raises(CohortError, match=message):
        plan_table({"x": cells}, {})


def test_a_form_can_be_made_of_it() -> None:
    assert RECIPE.about()[0] == {"name": "age", "kind": "number", "unit": "years", "low": 40, "high": 80}
    assert RECIPE.about()[-1] == {"name": "sex", "kind": "category", "words": ["f", "m"]}
    assert TableRecipe().about() == []
