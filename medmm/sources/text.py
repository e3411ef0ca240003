"""A note's bytes to text, in whatever encoding it came, saying so when that was a guess."""

from __future__ import annotations

import codecs
from dataclasses import replace
from pathlib import Path

from medmm.errors import TextError
from medmm.settings import LIMITS
from medmm.study import Note, Notice

_MARKED = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),  # before UTF-16, whose mark begins theirs
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_ZEROS = 0.3  # share of zero bytes in one half of the pairs that makes it UTF-16
_UNPRINTABLE = 0.02  # share of control characters above which it is no text, a stray one or two apart


def make_note(text: str) -> Note:
    """A note from text; what is over the limit is cut off, with a notice.

    Raises:
        TextError: If it is so long that it is no note.
    """
    if len(text) > LIMITS.note_bytes:
        msg = f"Expected a note of at most {LIMITS.note_bytes:,} characters; got {len(text):,}. Shorten it."
        raise TextError(msg)
    if len(text) <= LIMITS.note_chars:
        return Note(text)
    message = f"The note has {len(text):,} characters; only the first {LIMITS.note_chars:,} were read."
    return Note(text[: LIMITS.note_chars], (Notice("W_NOTE_LONG", message),))


def read_note(path: Path) -> Note:
    """A note from a file.

    UTF-8, or what a byte order mark says. Without one, UTF-16 is known by its zero bytes, and
    anything else is taken as Windows-1252 (a superset of Latin-1), with a notice.

    Raises:
        TextError: If it is missing, far too long, or no text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LIMITS.note_bytes + 1)
    except (OSError, ValueError):  # no such file, or no name a file could have
        msg = "Expected a readable text file as note; there is none. Check its path and permissions."
        raise TextError(msg) from None
    if len(content) > LIMITS.note_bytes:
        msg = f"Expected a note of at most {LIMITS.note_bytes:,} bytes; the file is larger. Shorten it."
        raise TextError(msg)
    text, notices = decode(content)
    note = make_note(text)
    return replace(note, notices=(*notices, *note.notices), encoding=_encoding(content)[0].removesuffix("-sig"))


def decode(content: bytes) -> tuple[str, tuple[Notice, ...]]:
    """Text from bytes, with a notice when the encoding was a guess.

    Raises:
        TextError: If it is no text in any encoding known here.
    """
    encoding, guessed = _encoding(content)
    try:
        text = content.decode(encoding)
        unprintable = sum(not (c.isprintable() or c.isspace()) for c in text)
    except UnicodeDecodeError:
        text, unprintable = "", len(content)
    if unprintable > 2 + _UNPRINTABLE * len(text):
        msg = "Expected text; the note's bytes are none in UTF-8, UTF-16 or Windows-1252. Save it as UTF-8."
        raise TextError(msg)
    if not guessed:
        return text, ()
    message = f"The note is not UTF-8; it was read as {guessed}. Check that its letters are right, or save it as UTF-8."
    return text, (Notice("W_NOTE_ENCODING", message),)


def _encoding(content: bytes) -> tuple[str, str]:
    """Python's name of the encoding, and the name to tell when it is a guess."""
    for mark, encoding in _MARKED:
        if content.startswith(mark):
            return encoding, ""
    for offset, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        half = content[offset::2]
        if half.count(0) > _ZEROS * len(half) and not len(content) % 2:
            return encoding, "UTF-16"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return ("cp1252" if _fits(content, "cp1252") else "latin-1"), "Windows-1252"
    return "utf-8", ""


def _fits(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
