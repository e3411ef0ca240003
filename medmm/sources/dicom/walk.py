"""The plain case of a header, read in one pass without a parser: what is wanted, and where the pixels begin.

Reading headers is most of the time that an uncompressed series takes. This walk knows only files
with preamble, explicit or implicit little endian, ascending tags and known value
representations, and gives up (None) on everything else, which pydicom then reads. Tests prove
that where it does not give up it finds what pydicom finds.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct, error

from medmm.sources.dicom.tags import WANTED, Header

IMPLICIT_LE, EXPLICIT_LE, DEFLATED, BIG_ENDIAN = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
)  # fmt: skip
_STANDARD = b"1.2.840.10008.1.2"
_PIXELS, _SYNTAX = 0x7FE00010, 0x00020010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_DEPTH = 16
_Next = Callable[[bytes, int], tuple[int, bytes, int, int]]
_explicit, _implicit, _long = Struct("<HH2sH").unpack_from, Struct("<HHI").unpack_from, Struct("<I").unpack_from
_MULTI_FRAME = frozenset(("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"))


class _Unusual(Exception):  # noqa: N818 - a signal, not an error
    """This file is not the plain case."""


def walk(head: bytes, size: int) -> Header | None:
    """Read a header from the first bytes of a file.

    Args:
        head: First bytes of the file.
        size: Bytes of the whole file.

    Returns:
        The header, None when the file is unusual or its pixels begin beyond `head`.
    """
    if head[128:132] != b"DICM":
        return None
    try:
        syntax, start = _meta(head)
        if syntax == IMPLICIT_LE.encode():
            values, pixels, length = _elements_implicit(head, start)
        else:
            values, pixels, length = _elements_explicit(head, start)
    except (_Unusual, error, IndexError):
        return None
    if pixels + length > size and length != _UNDEFINED:
        return None
    plain = syntax in {IMPLICIT_LE.encode(), EXPLICIT_LE.encode()}
    if plain == (length == _UNDEFINED) or not _MULTI_FRAME.isdisjoint(values):
        return None
    return Header(values, syntax.decode(), (pixels, length) if plain else None)


def _meta(head: bytes) -> tuple[bytes, int]:
    """TransferSyntaxUID and where the data set begins."""
    group, element, vr, length = _explicit(head, 132)
    if (group, element, vr, length) != (2, 0, b"UL", 4):
        raise _Unusual
    start = at = 144
    end = start + _long(head, 140)[0]
    syntax, last = b"", 0x00020000
    while at < end:
        tag, vr, at, length = _explicit_element(head, at)
        if tag <= last or tag >> 16 != 2 or length == _UNDEFINED or (tag == _SYNTAX and vr != b"UI"):
            raise _Unusual
        if tag == _SYNTAX:
            syntax = head[at : at + length].rstrip(b"\0")
        last, at = tag, at + length
    big_or_deflated = syntax in {BIG_ENDIAN.encode(), DEFLATED.encode()}
    if at != end or not syntax.startswith(_STANDARD) or not syntax.isascii() or big_or_deflated or head[at : at + 2] == b"\2\0":
        raise _Unusual
    return syntax, end


def _elements_explicit(head: bytes, at: int) -> tuple[dict[str, bytes], int, int]:
    values: dict[str, bytes] = {}
    last = 0
    while True:
        group, element, vr, length = _explicit(head, at)
        tag = group << 16 | element
        if vr in _SHORT:
            at += 8
        else:
            tag, vr, at, length = _explicit_element(head, at)
            if tag == _PIXELS:
                break
        if tag <= last:
            raise _Unusual
        last, start = tag, at
        at = at + length if length != _UNDEFINED else _after_sequence(head, at, _explicit_element, 0)
        if tag in WANTED:
            keyword, representation = WANTED[tag]
            if vr.decode() not in representation:
                raise _Unusual
            values[keyword] = b"" if vr == b"SQ" else head[start:at]
        elif length == _UNDEFINED and vr != b"SQ":
            raise _Unusual
    if vr not in {b"OW", b"OB"} or last > _PIXELS:
        raise _Unusual
    return values, at, length


def _elements_implicit(head: bytes, at: int) -> tuple[dict[str, bytes], int, int]:
    values: dict[str, bytes] = {}
    last = 0
    while True:
        tag, _, at, length = _implicit_element(head, at)
        if tag <= last:
            raise _Unusual
        last = tag
        if tag == _PIXELS:
            return values, at, length
        wanted = WANTED.get(tag)
        if length == _UNDEFINED:
            if wanted and wanted[1] != "SQ":
                raise _Unusual
            at, start = _after_sequence(head, at, _implicit_element, 0), at
            length = 0
        else:
            start, at = at, at + length
        if wanted:
            values[wanted[0]] = b"" if wanted[1] == "SQ" else head[start : start + length]


def _explicit_element(head: bytes, at: int) -> tuple[int, bytes, int, int]:
    """Tag, representation, where the value begins, its length."""
    group, element, vr, length = _explicit(head, at)
    if vr in _SHORT:
        return group << 16 | element, vr, at + 8, length
    if vr not in _LONG or length:  # after a long representation two zero bytes stand in the length's place
        raise _Unusual
    return group << 16 | element, vr, at + 12, _long(head, at + 8)[0]


def _implicit_element(head: bytes, at: int) -> tuple[int, bytes, int, int]:
    group, element, length = _implicit(head, at)
    if 0x41 <= length & 0xFF <= 0x5A and 0x41 <= length >> 8 & 0xFF <= 0x5A:  # may be an explicit file that lies
        raise _Unusual
    return group << 16 | element, b"", at + 8, length


def _after_sequence(head: bytes, at: int, next_element: _Next, depth: int) -> int:
    """Where the sequence of undefined length that begins here has ended."""
    if depth > _DEPTH:
        raise _Unusual
    while True:
        group, element, length = _implicit(head, at)  # items have no representation in either encoding
        tag, at = group << 16 | element, at + 8
        if tag == _SEQUENCE_END:
            if length:
                raise _Unusual
            return at
        if tag != _ITEM:
            raise _Unusual
        at = _after_item(head, at, length, next_element, depth)


def _after_item(head: bytes, at: int, length: int, next_element: _Next, depth: int) -> int:
    end = at + length
    last = 0
    while at != end or length == _UNDEFINED:
        if length != _UNDEFINED and at > end:
            raise _Unusual
        group, element, size = _implicit(head, at)
        if group == 0xFFFE:
            if (group << 16 | element, size) != (_ITEM_END, 0) or length != _UNDEFINED:
                raise _Unusual
            return at + 8
        tag, vr, at, size = next_element(head, at)
        if tag <= last:
            raise _Unusual
        last = tag
        if size == _UNDEFINED:
            if vr not in {b"SQ", b""}:
                raise _Unusual
            at = _after_sequence(head, at, next_element, depth + 1)
        else:
            at += size
    return at
