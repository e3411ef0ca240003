"""JSON for people and for diffs: what fits on a line, and every curve, stands on one."""

from __future__ import annotations

import json
from typing import Any

_LINE = 132


def to_text(content: Any, indent: int = 0) -> str:
    """Stable text of JSON-ready content: the same content gives the same bytes.

    Args:
        content: Dictionaries, lists, strings, numbers, None; not NaN.
        indent: Of the first line.
    """
    line = json.dumps(content, ensure_ascii=False, allow_nan=False)
    if not isinstance(content, (dict, list)) or len(line) + indent <= _LINE or _is_numbers(content):
        return line
    inner, end = "\n" + " " * (indent + 1), "\n" + " " * indent
    if isinstance(content, dict):
        parts = [f"{json.dumps(k, ensure_ascii=False)}: {to_text(v, indent + 1)}" for k, v in content.items()]
        return "{" + inner + ("," + inner).join(parts) + end + "}"
    return "[" + inner + ("," + inner).join(to_text(v, indent + 1) for v in content) + end + "]"


def _is_numbers(content: Any) -> bool:
    """Whether there is nothing but numbers in lists."""
    if isinstance(content, list):
        return all(_is_numbers(part) for part in content)
    return isinstance(content, (int, float))
