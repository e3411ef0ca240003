"""YAML as people write it: each key once, and no larger than it looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from medmm.errors import TaskError

_MAX_BYTES = 1 << 20
_TOO_LARGE = f"it is over {_MAX_BYTES >> 20} MB, or would be with all that its aliases repeat. Make it smaller"
_MERGE = "tag:yaml.org,2002:merge"
_SHOWN = 60  # characters of a key in a message; a note taken for YAML may be one key


class UnclearError(yaml.YAMLError):
    """YAML of which something would be lost, or that grows without measure; says what, and what to do."""


def read_yaml(path: str | Path, expected: str) -> dict[str, Any]:
    """The keys and values of a file.

    Args:
        path: YAML in UTF-8 or UTF-16.
        expected: What it should be, for the message.

    Raises:
        TaskError: If it cannot be read, is over 1 MB, no YAML, or holds anything but keys and values that JSON has, each key
            once.
    """
    try:
        with Path(path).open("rb") as file:
            content = parse_yaml(file.read(_MAX_BYTES + 1))
        json.dumps(content)  # what is read goes into records, tables and digests, which are JSON
    except OSError:
        fault = "there is none that can be read. Check the path"
    except UnclearError as error:
        fault = str(error)
    except TypeError:
        fault = "a value in it is neither word nor number, as a date is neither. Put it in quotes"
    except Exception as error:  # foreign bytes: PyYAML lets out more than its own, e.g. KeyError of "!!bool maybe"
        mark = getattr(error, "problem_mark", None)
        fault = f"it is no YAML{f' in line {mark.line + 1}' if mark else ''}. Mend it"
    else:
        if isinstance(content, dict) and all(isinstance(key, str) for key in content):
            return content
        fault = "it is empty. Write keys and values" if content is None else "it holds something else than words as keys. Mend it"
    msg = f"Expected {expected}; {fault}."
    raise TaskError(msg)


def parse_yaml(text: str | bytes) -> Any:
    """What YAML says; a merge (`<<`) may still be overridden by a key beside it.

    Raises:
        UnclearError: If a key stands twice in one place, or it is over 1 MB when all that aliases repeat is written out.
        yaml.YAMLError: If it is no YAML.
    """
    if len(text) > _MAX_BYTES:
        raise UnclearError(_TOO_LARGE)
    return yaml.load(text, _Loader)  # noqa: S506 - it is a safe one


class _Loader(yaml.SafeLoader):
    def get_single_node(self) -> yaml.Node | None:
        """The document, looked through before any of it is built."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None and self._size(node, {}) > _MAX_BYTES:
            raise UnclearError(_TOO_LARGE)
        return node

    def _size(self, node: yaml.Node, known: dict[yaml.Node, int]) -> int:
        """Characters and parts of a node with all that its aliases repeat, counted once for each node."""
        if node not in known:
            known[node] = _MAX_BYTES + 1  # as long as it is not known: an alias of what it stands in has no end
            if isinstance(node, yaml.MappingNode):
                self._refuse_repeated(node)
                known[node] = 1 + sum(self._size(part, known) for pair in node.value for part in pair)
            elif isinstance(node, yaml.SequenceNode):
                known[node] = 1 + sum(self._size(part, known) for part in node.value)
            else:
                known[node] = max(len(node.value), 1)
        return known[node]

    def _refuse_repeated(self, node: yaml.MappingNode) -> None:
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # cannot be a key, as is found when it is built
            name = key.value if key.tag == _MERGE else self.construct_object(key)
            line = key.start_mark.line + 1
            if name in lines:
                where = f"line {line}" if line == lines[name] else f"lines {lines[name]} and {line}"
                msg = f"the key {key.value[:_SHOWN]!r} stands twice, in {where}, and one would be lost. Leave one out"
                raise UnclearError(msg)
            lines[name] = line
