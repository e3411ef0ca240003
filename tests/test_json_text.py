"""Text that any JSON reader reads back, in lines that a diff can show."""

from __future__ import annotations

import json

import pytest

from medmm.json_text import to_text

CONTENT = {
    "short": {"a": 1, "b": [1.5, None, True, "ä\n"]},
    "curve": [[i / 100, i / 300] for i in range(101)],
    "empty": [{}, []],
    "rows": [{"name": f"row {i}", "what": "x" * 60, "more": "y" * 60} for i in range(3)],
}


def test_what_is_written_is_read_back() -> None:
    assert json.loads(to_text(CONTENT)) == CONTENT
    assert to_text(json.loads(to_text(CONTENT))) == to_text(CONTENT)


def test_short_things_and_curves_stand_on_one_line() -> None:
    lines = to_text(CONTENT).splitlines()
    assert lines[1].startswith(' "short": {"a": 1')
    assert lines[2].startswith(' "curve": [[0.0, 0.0], [0.01,')
    assert lines[2].endswith("]],")
    assert sum('"name"' in line for line in lines) == 3
    assert max(len(line) for line in lines if "curve" not in line) <= 132


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        to_text({"a": float("nan")})
