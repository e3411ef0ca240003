"""JUnit XML, the format that continuous integration reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree  # only written with, never parsed with

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Case:
    """One check: its name, how it ended, and what it saw."""

    name: str
    outcome: Outcome
    message: str = ""


def render_junit(suite: str, cases: Sequence[Case]) -> str:
    """A test suite as XML text; characters that XML cannot hold become question marks.

    Args:
        suite: Name.
        cases: Its checks, in order.
    """
    counts = {outcome: str(sum(c.outcome == outcome for c in cases)) for outcome in ("failed", "skipped")}
    root = ElementTree.Element(
        "testsuite", name=_clean(suite), tests=str(len(cases)), failures=counts["failed"], errors="0", skipped=counts["skipped"]
    )
    for case in cases:
        element = ElementTree.SubElement(root, "testcase", classname=_clean(suite), name=_clean(case.name))
        if case.outcome == "passed":
            ElementTree.SubElement(element, "system-out").text = _clean(case.message)
        else:
            tag = "failure" if case.outcome == "failed" else "skipped"
            ElementTree.SubElement(element, tag, message=_clean(case.message))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    return _NOT_XML.sub("?", text)
