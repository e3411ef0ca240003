"""What must hold before anything is made public: a licence, examples that name nobody, a size that fits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from medmm.errors import LicenceError, PhiError, TooLargeError
from medmm.shelf import Example
from medmm.yaml_text import parse_yaml

MAX_FILE_BYTES = 512 << 20
MAX_TOTAL_BYTES = 1 << 30  # what a Space's repository may hold
MAX_FILES = 5_000
CACHE = "__pycache__"
_PASSED_ON = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "cc",
    "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "ecl-2.0", "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl",
    "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "ncsa", "openrail", "unlicense", "zlib",
})  # fmt: skip


def card_header(card: str) -> dict[str, Any]:
    """The YAML header of a model card; empty without one."""
    match = re.match(r"---\n(.*?\n)---\n", card, flags=re.DOTALL)
    try:
        content = parse_yaml(match[1]) if match else None
    except yaml.YAMLError:
        content = None
    return content if isinstance(content, dict) else {}


def check_licence(card: str) -> str:
    """The licence of a model's card.

    Raises:
        LicenceError: If the card names none, or none that lets others have the model.
    """
    licence = str(card_header(card).get("license") or "").lower()
    if licence not in _PASSED_ON:
        msg = (
            "Expected a model whose card has a `license:` that lets it be passed on, e.g. apache-2.0; "
            f"{'it names another' if licence else 'it has none'}. Ask whoever made the model."
        )
        raise LicenceError(msg)
    return licence


def check_example(example: Example) -> None:
    """Refuse a study whose headers, or whose words, name somebody.

    Raises:
        PhiError: With the kinds of identifiers, never their values.
        LicenceError: If it is not said where it comes from.
        InputError: If it cannot be read.
    """
    from medmm.sources.privacy import check_phi

    words = "\n".join((example.note, example.title, example.truth))
    named = sorted({f.kind for f in check_phi(example.path, words) if f.direct})
    if named:
        msg = f"Expected example studies that name nobody; one holds: {', '.join(named)}. Run `medmm deid` on it, or leave it out."
        raise PhiError(msg)
    if not example.attribution.strip():
        msg = "Expected an attribution with every example study; one has none. Say where it comes from, or leave it out."
        raise LicenceError(msg)


def files_of(folder: Path) -> list[Path]:
    """All files of a bundle; what running it leaves behind is none of them."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and CACHE not in file.parts)


def check_size(folder: Path) -> tuple[int, int]:
    """Number and bytes of all files of a bundle.

    Raises:
        TooLargeError: If a file, their sum or their number is over a limit.
    """
    sizes = [file.stat().st_size for file in files_of(folder)]
    count, total, largest = len(sizes), sum(sizes), max(sizes, default=0)
    if total > MAX_TOTAL_BYTES or largest > MAX_FILE_BYTES or count > MAX_FILES:
        msg = (
            f"Expected at most {MAX_FILES:,} files, {MAX_FILE_BYTES >> 20} MB each and {MAX_TOTAL_BYTES >> 20} MB together; got "
            f"{count:,} files, the largest of {largest >> 20} MB, {total >> 20} MB together. Take a smaller model."
        )
        raise TooLargeError(msg)
    return count, total
