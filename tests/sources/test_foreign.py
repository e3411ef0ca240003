from __future__ import annotations

import warnings

import pytest

from medmm.errors import BudgetError, CorruptError, MissingSlicesError
from medmm.sources.foreign import foreign_bytes


@pytest.mark.parametrize(
    ("raised", "leaf"),
    [
        (ValueError("SECRET"), CorruptError),
        (RecursionError("SECRET"), CorruptError),
        (EOFError(), CorruptError),
        (MemoryError("SECRET"), BudgetError),
        (MissingSlicesError("as it was"), MissingSlicesError),
    ],
)
def test_what_a_parser_throws_becomes_one_typed_error_without_its_content(raised: Exception, leaf: type[Exception]) -> None:
    with pytest.raises(leaf) as caught, foreign_bytes("It is damaged."):
        raise raised
    assert type(caught.value) is leaf
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_interrupt_is_no_damage() -> None:
    with pytest.raises(KeyboardInterrupt), foreign_bytes("It is damaged."):
        raise KeyboardInterrupt


def test_a_parsers_warnings_are_not_shown() -> None:
    with foreign_bytes("It is damaged."):
        warnings.warn("SECRET", stacklevel=1)
