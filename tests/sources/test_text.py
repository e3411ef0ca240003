"""Notes in the encodings hospitals write; the oracle is the text that was encoded."""

from __future__ import annotations

import codecs
from pathlib import Path

import numpy as np
import pytest

from medmm.errors import TextError
from medmm.sources.text import decode, make_note, read_note

GERMAN = "Ödem links, 5 µg/l, Größe 2,4 cm – kein „Fieber“."
ENGLISH = "61-year-old, cough for 3 weeks.\nNo fever."


@pytest.mark.parametrize("text", [GERMAN, ENGLISH, "咳嗽三周。", "Кашель."])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""), ("utf-8", codecs.BOM_UTF8), ("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE), ("utf-32-be", codecs.BOM_UTF32_BE),
    ],
)  # fmt: skip
def test_utf_8_and_what_a_mark_names_are_read_without_a_word(text: str, encoding: str, mark: bytes) -> None:
    assert decode(mark + text.encode(encoding)) == (text, ())


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        (GERMAN, "cp1252", "Windows-1252"), ("Größe 2,4 cm", "latin-1", "Windows-1252"),
        ("a\x81b " + "Größe " * 20, "latin-1", "Windows-1252"),
        (ENGLISH, "utf-16-le", "UTF-16"), (ENGLISH, "utf-16-be", "UTF-16"), (GERMAN, "utf-16-le", "UTF-16"),
    ],
)  # fmt: skip
def test_a_guess_is_right_for_western_text_and_said(text: str, encoding: str, named: str) -> None:
    found, (notice,) = decode(text.encode(encoding))
    assert found == text
    assert notice.code == "W_NOTE_ENCODING"
    assert named in notice.message


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        np.random.default_rng(0).bytes(5000),
        b"\xff\xfe\x00",
        b"\xff\xfe" + b"\x00\xd8" * 50,
        b"PK\x03\x04\x00\x01" * 20,
    ],
)
def test_bytes_that_are_no_text_are_refused(content: bytes) -> None:
    with pytest.raises(TextError, match="Save it as UTF-8"):
        decode(content)


def test_every_pair_of_bytes_is_text_or_a_typed_error() -> None:
    rng = np.random.default_rng(1)
    for _ in range(2000):
        content = rng.bytes(int(rng.integers(1, 12)))
        try:
            text, _ = decode(content)
        except TextError:
            continue
        assert isinstance(text, str)


def test_a_note_over_the_limit_is_cut_and_said() -> None:
    note = make_note("ab" * 20_000)
    assert len(note.text) == 32_768
    assert [n.code for n in note.notices] == ["W_NOTE_LONG"]
    assert "40,000 characters; only the first 32,768" in note.notices[0].message
    assert make_note("x" * 32_768).notices == ()


def test_a_file_is_read_and_both_notices_are_kept(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_bytes(("Ödem " * 10_000).encode("latin-1"))
    note = read_note(tmp_path / "note.txt")
    assert [n.code for n in note.notices] == ["W_NOTE_ENCODING", "W_NOTE_LONG"]
    (tmp_path / "note.txt").write_bytes(b"\xef\xbb\xbfFever.\x00\r\n")
    assert read_note(tmp_path / "note.txt").text == "Fever."


@pytest.mark.parametrize("name", ["SECRET nowhere", "SECRET\0nul", "SECRET" * 100, "folder"])
def test_a_note_that_cannot_be_opened_is_refused_without_naming_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(TextError) as caught:
        read_note(tmp_path / name)
    assert "SECRET" not in caught.value.message


def test_a_file_far_too_long_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "note.txt").open("wb") as file:
        file.truncate(2 << 30)  # sparse
    with pytest.raises(TextError, match="1,048,576 bytes"):
        read_note(tmp_path / "note.txt")
