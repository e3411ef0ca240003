"""YAML files: each key once at any depth, and none that grows when it is read."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medmm.errors import TaskError
from medmm.yaml_text import UnclearError, parse_yaml, read_yaml

WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Z")), max_size=8)
CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(WORDS, inside, max_size=4),
    max_leaves=20,
)


def file(folder: Path, content: str | bytes) -> Path:
    path = folder / "given.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@given(CONTENT)
@settings(deadline=None)
def test_what_is_clear_is_read_as_by_pyyaml(content: object) -> None:
    for flow in (True, False):
        text = yaml.safe_dump(content, default_flow_style=flow, allow_unicode=True)
        assert parse_yaml(text) == yaml.safe_load(text) == content


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' stands twice, in lines 1 and 3"),
        ("a: 1\na: 1\n", "'a' stands twice, in lines 1 and 2"),
        ("a: {b: 1, b: 2}\n", "'b' stands twice, in line 1,"),
        ("- x\n- - deep:\n      c: 1\n      'c': 2\n", "'c' stands twice, in lines 3 and 4"),
        ("yes: 1\ntrue: 2\n", "'true' stands twice, in lines 1 and 2"),
        ("16: 1\n0x10: 2\n", "'0x10' stands twice"),
        ("a: &a {x: 1}\nb: &b {y: 1}\nc:\n  <<: *a\n  <<: *b\n", "'<<' stands twice, in lines 4 and 5"),
        ("base: &b {x: 1, x: 2}\nuse: {<<: *b}\n", "'x' stands twice"),
        ("? a\n: 1\n? a\n: 2\n", "'a' stands twice, in lines 1 and 3"),
        ("!!set {a, a}", "'a' stands twice"),
    ],
)
def test_a_repeated_key_is_refused_at_any_depth(text: str, said: str) -> None:
    with pytest.raises(UnclearError, match=said):
        parse_yaml(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1, y: 1}\nb: {<<: *a, x: 2}\n",
        "a: &a {x: 1}\nb: {x: 2, <<: *a}\n",
        "a: &a {x: 1}\nb: &b {x: 2, y: 3}\nc: {<<: [*a, *b]}\n",
        "a: &a {x: 1}\nz:\n  - &b {<<: *a, x: 2}\nc: {<<: *b, x: 3}\n",  # *b is merged before it is built itself
        "a: &a [1, 2]\nb: *a\nc: *a\n",
        "1: a\n'1': b\n",
        "a: {x: 1}\nb: {x: 1}\n",
        "",
        "# nothing\n",
    ],
)
def test_what_is_stated_once_is_read_as_by_pyyaml(text: str) -> None:
    assert parse_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "content",
    [
        "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghij")),
        "a: &a {x: 1}\n" + "".join(f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in pairwise("abcdefghij")),
        f"a: &a {'x' * 2000}\nb: [{', '.join(['*a'] * 2000)}]\n",
        "a: &a [*a]\n",
        "a: &a {b: {c: *a}}\n",
        "a: &a {<<: *a}\n",
    ],
)
def test_aliases_without_measure_are_refused_before_anything_is_built(content: str, tmp_path: Path) -> None:
    """In a process that may take little memory: a merge of merges alone is 9 to the power of 9 keys."""
    code = (
        "import resource, sys; from medmm.yaml_text import read_yaml\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "try: read_yaml(sys.argv[1], 'a task file')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, file(tmp_path, content)], capture_output=True, text=True, check=True, timeout=120
    )
    assert ran.stdout.startswith("TaskError Expected a task file; it is over 1 MB, or would be with all that its aliases repeat")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"# nothing\n", "it is empty"),
        (b"[a, b]", "something else than words as keys"),
        (b"word", "something else than words as keys"),
        (b"yes: 1", "something else than words as keys"),
        (b"a: 1\nb: {\n", "no YAML in line 3"),
        (b"a: 1\n---\nb: 2\n", "no YAML"),
        (b"a: !!python/object/apply:os.getcwd []\n", "no YAML in line 1"),
        (b"a: !!bool maybe", "no YAML"),
        (b"a: !!int ''", "no YAML"),
        (b"a: 2024-99-99", "no YAML"),
        (b"{[a]: 1}", "no YAML"),
        (b"seed: 0x" + b"F" * 5_000, "no YAML"),
        (b"question: 2024-01-01", "Put it in quotes"),
        (b"labels: !!set {a, b}", "Put it in quotes"),
        (b"text_source: !!binary aGFsbG8=", "Put it in quotes"),
        (b"a: \xff\xfe\n", "no YAML"),
        (b"[" * 50_000, "no YAML"),
        (b"a: " + b"[" * 5_000 + b"]" * 5_000, "no YAML"),
        (b"a: 1\n#" + b"-" * (1 << 20), "over 1 MB"),
        (b"name: a\nname: b\n", "'name' stands twice, in lines 1 and 2, and one would be lost. Leave one out."),
    ],
)
def test_what_is_no_keys_and_values_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=said) as caught:
        read_yaml(file(tmp_path, content), "a task file")
    assert caught.value.message.startswith("Expected a task file; ")
    assert caught.value.message.endswith(".")
    assert str(tmp_path) not in caught.value.message


def test_what_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(TaskError, match="none that can be read") as caught:
            read_yaml(path, "a task file")
        assert caught.value.__cause__ is None
        assert "none.yaml" not in caught.value.message


def test_a_long_key_is_not_told_in_full(tmp_path: Path) -> None:
    key = "Mrs Example was seen " * 20
    with pytest.raises(TaskError) as caught:
        read_yaml(file(tmp_path, f"{key}: 1\n{key}: 2\n"), "a task file")
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_say_what_they_are_are_read_alike(encoding: str, tmp_path: Path) -> None:
    assert read_yaml(file(tmp_path, "befund: größer\n".encode(encoding)), "a file") == {"befund": "größer"}
