"""A note to token ids in which numbers are numbers.

A word-piece sees "2.4" and "8.1" as unrelated scraps. Here every numeric literal is found first,
lengths are brought to millimetres, and its value travels beside the tokens to the encoder (the
idea of xVal, Golkar et al. 2023, arXiv 2310.02989). The built-in tokenizer writes `[NUM]` in its
place; a pretrained tokenizer keeps the digits it knows and gets the value on top.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict

from medmm.sections import SectionName, keep_sections
from medmm.study import Notice, Study

PAD, UNKNOWN, START, END, MASK, NUMBER = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[NUM]"
_SPECIAL = [PAD, UNKNOWN, START, END, MASK, NUMBER]
_MANY_UNKNOWN = 0.25
_LARGEST = 1e12  # longer digit strings are names of things, not quantities

Wording = Literal["numbers", "plain", "ct_clip", "merlin"]
"""How a note is worded for its tokenizer: with its numbers read, as it stands, or as published weights were trained."""

_LITERAL = re.compile(r"(?:(?<=\d[xX])|(?<![A-Za-z0-9.,]))(?:(?<![^\s(\[=:<>])[-\u2212])?(?:\d+(?:[.,]\d+)*|\.\d+)(?![.,]?\d)")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_LENGTH = re.compile(
    r"\s*[-\u2010\u2011]?\s*(mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?)(?![A-Za-z0-9\u00b2\u00b3^])", re.IGNORECASE
)
_JOINED = re.compile(r"\s*(?:[x\u00d7*\u2013-]|by|to)\s*", re.IGNORECASE)


class Reading(NamedTuple):
    """A note as read: the text with lengths in millimetres, and where its numbers stand.

    `spans` are (start, end) in `text`; `values` their numbers.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TextRecipe:
    """What an encoder needs to know of the notes it reads; stored with the weights, the tokenizer beside it.

    Attributes:
        vocabulary: Token ids.
        max_tokens: Longest input.
        sections: Sections of a note that are read, all when None.
        wording: How it is worded for the tokenizer; values of numbers travel with `numbers` alone.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    vocabulary: int
    max_tokens: int = 256
    sections: tuple[SectionName, ...] | None = None
    wording: Wording = "numbers"


@dataclass(frozen=True, slots=True)
class Tokens:
    """One tokenised note.

    Attributes:
        ids: (T,) int64 token ids, start and end marks included.
        values: (T,) float32 number carried by a token, 0 elsewhere.
        is_number: (T,) bool, where a number starts.
    """

    ids: NDArray[np.int64]
    values: NDArray[np.float32]
    is_number: NDArray[np.bool_]


def read_numbers(note: str, *, as_token: bool = False) -> Reading:
    """Find the numbers of a note and bring lengths to millimetres.

    Digits inside words (T2, HER2), dates and versions with several dots are left alone. In
    "3 x 4 cm" and "3-4 cm" both numbers are centimetres.

    Args:
        note: Cleaned text.
        as_token: Write `[NUM]` instead of the digits.
    """
    found = [(m.span(), _value(m.group())) for m in _LITERAL.finditer(note)]
    numbers = [(span, value) for span, value in found if value is not None]
    pieces: list[str] = []
    spans, values, cursor, length = [], [], 0, 0

    def write(piece: str) -> None:
        nonlocal length
        pieces.append(piece)
        length += len(piece)

    units = _length_units(note, [span for span, _ in numbers])
    for ((start, end), value), (factor, unit_end) in zip(numbers, units, strict=True):
        write(note[cursor:start])
        scaled = value * factor
        literal = NUMBER if as_token else f"{scaled:.10g}"
        spans.append((length, length + len(literal)))
        values.append(scaled)
        write(literal)
        if unit_end > end:
            write(" mm")
        cursor = max(end, unit_end)
    write(note[cursor:])
    return Reading("".join(pieces), tuple(spans), tuple(values))


def _value(literal: str) -> float | None:
    """The number a literal means, None for dates, versions, record numbers and the like."""
    plain = literal.replace("\u2212", "-")
    digits = plain.lstrip("-")
    if _THOUSANDS.fullmatch(digits):
        plain = plain.replace(",", "")
    elif digits.count(".") + digits.count(",") > 1:
        return None
    value = float(plain.replace(",", "."))
    return value if abs(value) < _LARGEST else None


def _length_units(note: str, spans: list[tuple[int, int]]) -> list[tuple[float, int]]:
    """For each number the factor to millimetres and where its own unit ends (0 when it has none)."""
    units: list[tuple[float, int]] = []
    following = 1.0  # unit of the number to the right
    for index in range(len(spans) - 1, -1, -1):
        end = spans[index][1]
        unit = _LENGTH.match(note, end)
        if unit:
            factor = 10.0 if unit.group(1).lower().startswith("c") else 1.0
            units.append((factor, unit.end()))
        else:
            link = _JOINED.match(note, end)
            joined = link is not None and index + 1 < len(spans) and link.end() == spans[index + 1][0]
            factor = following if joined else 1.0
            units.append((factor, 0))
        following = units[-1][0]
    return units[::-1]


class NoteTokenizer:
    """Token ids and number values of notes, from a Hugging Face `tokenizers` tokenizer.

    Args:
        tokenizer: A `tokenizers.Tokenizer`; with a `[NUM]` token numbers are replaced by it.
        max_tokens: Longest input; longer notes are cut at the end and say so.
        sections: Sections of a note that are read, all when None.
        wording: How it is worded for the tokenizer.
    """

    def __init__(
        self, tokenizer: Any, max_tokens: int, sections: tuple[SectionName, ...] | None = None, wording: Wording = "numbers"
    ) -> None:
        self._tokenizer = tokenizer
        self.max_tokens, self.sections, self.wording = max_tokens, sections, wording
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._number_token = tokenizer.token_to_id(NUMBER) is not None
        unknown = next((t for t in (UNKNOWN, "<unk>") if tokenizer.token_to_id(t) is not None), None)
        self._unknown_id = tokenizer.token_to_id(unknown) if unknown else -1

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        return int(self._tokenizer.get_vocab_size())

    @property
    def recipe(self) -> TextRecipe:
        """What the encoder needs to know."""
        return TextRecipe(self.vocabulary_size, self.max_tokens, self.sections, self.wording)

    @property
    def pad_id(self) -> int:
        """Id that fills short notes in a batch."""
        for token in (PAD, "<pad>"):
            if (index := self._tokenizer.token_to_id(token)) is not None:
                return int(index)
        return 0

    @property
    def hidden_id(self) -> int:
        """Id shown instead of a hidden token."""
        found = (self._tokenizer.token_to_id(token) for token in (MASK, "<mask>"))
        return int(next((index for index in found if index is not None), max(self._unknown_id, 0)))

    def to_json(self) -> str:
        """The whole tokenizer as JSON text, the content of `tokenizer.json`."""
        return str(self._tokenizer.to_str())

    @classmethod
    def from_json(cls, content: str, recipe: TextRecipe) -> NoteTokenizer:
        """Rebuild from `to_json` and `recipe`."""
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_str(content), recipe.max_tokens, recipe.sections, recipe.wording)

    @classmethod
    def trained_on(
        cls, notes: Iterable[str], *, vocabulary: int, max_tokens: int, sections: tuple[SectionName, ...] | None = None
    ) -> NoteTokenizer:
        """A lower-case WordPiece vocabulary learned from these notes; needs no download.

        The same notes give the same vocabulary, which a resumed training relies on.
        """
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

        normalizer, words = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
        texts = [normalizer.normalize_str(read_numbers(n, as_token=True).text.replace(NUMBER, " ")) for n in notes]
        tokenizer = Tokenizer(models.WordPiece(_learn_pieces(texts, words, vocabulary), unk_token=UNKNOWN))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, words
        tokenizer.add_special_tokens(_SPECIAL)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{START} $A {END}",
            special_tokens=[(START, tokenizer.token_to_id(START)), (END, tokenizer.token_to_id(END))],
        )
        return cls(tokenizer, max_tokens, sections)

    def encode(self, note: str) -> tuple[Tokens, list[Notice]]:
        """Tokenise one note.

        Returns:
            The tokens, and notices when the note was cut or is mostly unknown words.
        """
        reading = self._worded(note, as_token=self._number_token)
        encoding = self._tokenizer.encode(reading.text)
        ids = np.asarray(encoding.ids, dtype=np.int64)
        values, is_number = _numbers_at(encoding.offsets, reading)
        notices = []
        if len(ids) > self.max_tokens:
            kept_chars = encoding.offsets[self.max_tokens - 2][1]
            share = kept_chars / max(len(reading.text), 1)
            message = f"The note has {len(ids)} tokens; the first {self.max_tokens} ({share:.0%} of the text) were used."
            notices.append(Notice("W_NOTE_CUT", message))
            keep = np.r_[np.arange(self.max_tokens - 1), len(ids) - 1]
            ids, values, is_number = ids[keep], values[keep], is_number[keep]
        unknown = float((ids == self._unknown_id).mean())
        if unknown > _MANY_UNKNOWN:
            message = f"{unknown:.0%} of the note's tokens are unknown to the model; it may be in another language."
            notices.append(Notice("W_NOTE_UNKNOWN", message))
        return Tokens(ids, values, is_number), notices

    def read(self, study: Study) -> tuple[tuple[torch.Tensor, ...], list[Notice]]:
        """(T,) ids, values and `is_number` of a study's note, with what to tell the reader."""
        assert study.note is not None  # asked only of studies with a note
        tokens, notices = self.encode(study.note.text)
        return tuple(map(torch.from_numpy, (tokens.ids, tokens.values, tokens.is_number))), notices

    def stack(self, inputs: Sequence[tuple[torch.Tensor, ...] | None]) -> tuple[torch.Tensor, ...]:
        """(B, T) ids, values, `is_number` and mask, True on real tokens; notes are padded to the longest."""
        lengths = torch.tensor([0 if given is None else len(given[0]) for given in inputs])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        stacked = torch.full(mask.shape, self.pad_id), torch.zeros(mask.shape), torch.zeros(mask.shape, dtype=torch.bool)
        for row, given in enumerate(inputs):
            for full, tensor in zip(stacked, given or (), strict=False):
                full[row, : len(tensor)] = tensor
        return *stacked, mask

    def _worded(self, note: str, *, as_token: bool = False) -> Reading:
        return (
            read_numbers(note, as_token=as_token) if self.wording == "numbers" else Reading(_as_trained(note, self.wording), (), ())
        )

    def used_text(self, note: str) -> str:
        """The part of the note the model reads, as it is worded."""
        note = keep_sections(note, self.sections)
        reading = self._worded(note)
        masked = self._worded(note, as_token=self._number_token)
        offsets = self._tokenizer.encode(masked.text).offsets
        if len(offsets) <= self.max_tokens:
            return reading.text
        cut = offsets[self.max_tokens - 2][1]
        growth = sum((e - s) - (me - ms) for (s, e), (ms, me) in zip(reading.spans, masked.spans, strict=True) if me <= cut)
        return reading.text[: cut + growth]


def _as_trained(note: str, wording: Wording) -> str:
    """As those who published weights worded their reports."""
    if wording == "ct_clip":
        return re.sub(r"[\"'()]", "", note).replace("Not given.", "")
    if wording == "merlin":
        return " ".join(re.findall(r"\w+|[^\w\s]+", note.lower()))
    return note


def _learn_pieces(texts: list[str], words: Any, size: int) -> dict[str, int]:
    """WordPiece vocabulary of normalised texts.

    The trainer numbers the inner letters of words in an order that differs from run to run, and breaks
    ties by these numbers. Handed in as special tokens they get theirs first, in alphabetical order.
    """
    from tokenizers import Tokenizer, models, trainers

    letters = sorted({chr(c) for c in range(33, 127)}.union(*texts) - {" "})
    scratch = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    scratch.pre_tokenizer = words
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=[*_SPECIAL, *(f"##{letter}" for letter in letters)],
        initial_alphabet=letters, min_frequency=2, show_progress=False,
    )  # fmt: skip
    scratch.train_from_iterator(texts, trainer)
    pieces: dict[str, int] = scratch.get_vocab()
    return pieces


def _numbers_at(offsets: list[tuple[int, int]], reading: Reading) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Put each number's value on the first token that overlaps its span."""
    values = np.zeros(len(offsets), dtype=np.float32)
    is_number = np.zeros(len(offsets), dtype=bool)
    position = 0
    for (start, end), value in zip(reading.spans, reading.values, strict=True):
        while position < len(offsets) and (offsets[position][1] <= start or offsets[position][0] == offsets[position][1]):
            position += 1
        if position < len(offsets) and offsets[position][0] < end:
            values[position], is_number[position] = value, True
            position += 1
    return values, is_number
