"""Coverage does not look on while a library is imported, which is most of what the many processes of the tests do.

A plugin of Coverage. Its tracer slows all code below Python 3.12, whether it is measured or not; nothing measured runs in
such an import.
"""

from __future__ import annotations

import sys
from importlib import _bootstrap  # type: ignore[attr-defined] # every way to import ends here; there is no public one
from types import ModuleType
from typing import Any

_MEASURED = {"medmm", "tests"}
"""Packages whose import runs code that is measured."""


def coverage_init(*_: object) -> None:
    """Called by Coverage in every process that it measures."""
    load = _bootstrap._find_and_load

    def load_unwatched(name: str, import_: Any) -> ModuleType:
        tracer = sys.gettrace()
        if tracer is None or name.partition(".")[0] in _MEASURED:
            return load(name, import_)
        sys.settrace(None)
        try:
            return load(name, import_)
        finally:
            sys.settrace(tracer)
            _be_called()

    _bootstrap._find_and_load = load_unwatched


def _be_called() -> None:
    """Do nothing: Coverage's tracer goes on with the next call, and our own code must not be running by then."""
