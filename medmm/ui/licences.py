"""Whose work the page stands on: the installed packages it needs and what it ships of others, each with its licence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

_NAME = re.compile(r"[\w.-]+")
_LONGEST = 60
_SHIPPED = {("NiiVue", "0.69.0", "BSD-2-Clause")}  # static/vendor, with its licence and those of what is bundled in it


def third_party() -> list[tuple[str, str, str]]:
    """(name, version, licence) of every package that medmm names and that is installed here, and of what it ships."""
    return sorted(
        {(part.name, part.version, _licence_of(part)) for part in _named()} | _SHIPPED,
        key=lambda row: row[0].lower(),
    )


def _named() -> Iterator[Distribution]:
    try:
        stated = distribution("medmm").requires or []
    except PackageNotFoundError:
        stated = []
    for line in stated:
        name = _NAME.match(line)
        if name is None or "extra == 'dev'" in line:
            continue
        try:
            yield distribution(name[0])
        except PackageNotFoundError:
            continue  # an extra that is not here


def _licence_of(part: Distribution) -> str:
    stated = {key: part.metadata.get_all(key) or [] for key in ("License-Expression", "Classifier", "License")}
    classified = [c.rpartition("::")[2].strip() for c in stated["Classifier"] if c.startswith("License ::")]
    free = [text.strip().partition("\n")[0] for text in stated["License"]]
    short = [text for text in free if 0 < len(text) <= _LONGEST]
    return ", ".join(stated["License-Expression"] or classified or short) or "-"
