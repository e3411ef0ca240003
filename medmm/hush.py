"""What parsers say of foreign bytes, in warnings and in their logs, holds values of headers: nobody hears it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LOGGERS = (
    "pydicom",
    "pydicom.pixels.decoders.base",
    "pydicom.pixels.encoders.base",
    "pydicom.pixels.utils",
)  # do not inherit filters
_hushed: ContextVar[bool] = ContextVar("hushed", default=False)


@contextmanager
def hushed() -> Iterator[None]:
    """Keep the parsers used inside from warning and logging; what others say at that time is heard."""
    before = _hushed.set(True)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        _hushed.reset(before)


def _is_heard(record: logging.LogRecord) -> bool:  # the signature of a filter
    return not _hushed.get()


for _name in _LOGGERS:  # a logger does not inherit the filters of the one above it
    logging.getLogger(_name).addFilter(_is_heard)
