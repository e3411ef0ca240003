"""The boundary to bytes nobody vouches for: whatever a parser throws at them becomes one typed error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from medmm.errors import BudgetError, CorruptError, MedmmError
from medmm.hush import hushed


@contextmanager
def foreign_bytes(message: str) -> Iterator[None]:
    """Run a parser or decoder.

    Args:
        message: What to say when the bytes are damaged; what the parser says may hold their content.

    Raises:
        MedmmError: As raised inside.
        BudgetError: If the memory ran out.
        CorruptError: For anything else.
    """
    try:
        with hushed():
            yield
    except MedmmError:
        raise
    except MemoryError:
        msg = "Expected to read the study within the memory there is; it needs more. Point to a smaller study."
        raise BudgetError(msg) from None
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException:  # whatever is thrown means the same thing; codecs written in Rust throw no Exception
        raise CorruptError(message) from None
