"""The tree of errors, the drawing of it, and the two documents that list codes: they cannot drift apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from medmm import errors
from medmm.errors import MedmmError
from medmm.settings import LIMITS
from medmm.sources.dicom.inventory import RULE
from medmm.types import MODALITIES

ROOT = Path(__file__).parents[1]
SOURCES = {p: p.read_text(encoding="utf-8") for p in (ROOT / "medmm").rglob("*.py")}
READING = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
ERRORS = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


def tree(root: type[MedmmError] = MedmmError) -> Iterator[type[MedmmError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


CLASSES = [c for c in tree() if c.__module__ == "medmm.errors"]


def test_every_class_has_a_code_of_its_own() -> None:
    assert len({c.code for c in CLASSES}) == len(CLASSES)
    assert all(re.fullmatch(r"E_[A-Z_]+", c.code) and "code" in vars(c) for c in CLASSES)


def test_the_drawing_in_the_docstring_is_the_tree() -> None:
    lines = re.findall(r"^( {4}[|` ]*(?:[|`]-- )?)(\w+Error)\b(?: +(E_\w+))?", errors.__doc__, re.MULTILINE)
    assert {name for _, name, _ in lines} == {c.__name__ for c in CLASSES}
    parents: dict[int, str] = {}
    for indent, name, code in lines:
        depth, found = len(indent), getattr(errors, name)
        parents = {d: n for d, n in parents.items() if d < depth} | {depth: name}
        above = [parents[d] for d in sorted(parents)]
        assert [c.__name__ for c in reversed(found.__mro__) if issubclass(c, MedmmError)] == above
        assert not code or code == found.code
    drawn = {name for _, name, code in lines if code}
    leaves = {c.__name__ for c in CLASSES if not c.__subclasses__() or c is errors.GeometryError}
    assert drawn == leaves


def test_the_table_of_errors_lists_every_code_once_with_its_class() -> None:
    rows = re.findall(r"^\| `(E_\w+)` \| `(\w+)` \| (.+) \| (.+) \|$", ERRORS, re.MULTILINE)
    assert sorted((code, name) for code, name, *_ in rows) == sorted((c.code, c.__name__) for c in CLASSES)
    assert ERRORS.count("| `E_") == len(CLASSES)


@pytest.mark.parametrize("leaf", [c for c in CLASSES if not c.__subclasses__()])
def test_every_leaf_is_raised_somewhere(leaf: type[MedmmError]) -> None:
    assert any(re.search(rf"(raise {leaf.__name__}\(|read_rows\([^)]*{leaf.__name__}\))", text) for text in SOURCES.values())


def test_message_is_the_sentence_or_else_the_code() -> None:
    assert errors.TextError("Too long.").message == "Too long."
    assert errors.TextError().message == "E_TEXT"


def test_the_reading_page_lists_every_notice_of_the_sources_once() -> None:
    listed = re.findall(r"^\| `(W_\w+)` \|", READING, re.MULTILINE)
    found = set()
    for code in re.findall(r'"(W_[A-Z_]+)', "".join(SOURCES.values())):
        found |= {code + name.upper() for name in MODALITIES} if code.endswith("_") else {code}
    assert sorted(listed) == sorted(found)


def test_the_reading_page_names_only_codes_that_exist_and_all_that_reading_raises() -> None:
    readers = ("__init__", "archive", "nifti", "picture")
    code = "".join(
        text for path, text in SOURCES.items()
        if path.parent.name == "dicom" or (path.parent.name == "sources" and path.stem in readers)
    )  # fmt: skip
    raised = {getattr(errors, name).code for name in re.findall(r"raise (\w+Error)\(", code)}
    named = set(re.findall(r"\bE_[A-Z_]+", READING))
    assert raised <= named <= {c.code for c in CLASSES}


def test_the_reading_page_states_the_rule_and_the_limits_of_the_code() -> None:
    assert f"> {RULE}\n" in READING
    limits = asdict(LIMITS)
    low_mm, high_mm, low_hu, high_hu = *limits.pop("spacing_mm"), *limits.pop("hu")
    megabytes = {name: limits.pop(name) >> 20 for name in ("file_bytes", "total_bytes", "memory_bytes", "audio_bytes")}
    stated = READING[READING.index("## Limits") :]
    for number in (*limits.values(), *megabytes.values()):
        assert f" {number:,.0f} " in stated
    assert f"{low_mm} to {high_mm:g} mm" in stated
    assert f"{low_hu:,.0f} to {high_hu:,.0f}" in stated
