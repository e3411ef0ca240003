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
        (BaseException("SECRET"), CorruptError),  # the panic of a codec written in Rust
        (MemoryError("SECRET"), BudgetError),
        (MissingSlicesError("as it was"), MissingSlicesError),
    ],
)
def test_what_a_parser_throws_becomes_one_typed_error_without_its_content(raised: BaseException, leaf: type[Exception]) -> None:
    with pytest.raises(leaf) as caught, foreign_bytes("It is damaged."):
        raise raised
    assert type(caught.value) is leaf
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_no_damage(raised: type[BaseException]) -> None:
    with pytest.raises(raised), foreign_bytes("It is damaged."):
        raise raised


def test_a_parsers_warnings_are_not_shown() -> None:
    with foreign_bytes("It is damaged."):
        warnings.warn("SECRET", stacklevel=1)
