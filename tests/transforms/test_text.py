"""Notes as tokens in which numbers are numbers and nothing is lost without a word."""

from __future__ import annotations

import time

import numpy as np
import pytest

from medmm.transforms.text import NUMBER, NoteTokenizer, read_numbers

NOTES = [
    "61-year-old man. No weight loss. Lesion of 2.4 cm.",
    "70 year old woman. Reports weight loss. Denies chest pain. Lesion of 31 mm.",
    "Without fever, no chest pain. CEA 4.2 ng/mL.",
    "Negative for weight loss. Lesion of 8.1 cm, smooth.",
] * 3


@pytest.fixture(scope="module")
def tokenizer() -> NoteTokenizer:
    return NoteTokenizer.trained_on(NOTES, vocabulary=400, max_tokens=48)


@pytest.mark.parametrize(
    ("note", "values"),
    [
        ("mass of 2.4 cm", [24]),
        ("mass of 24 mm", [24]),
        ("mass of 2,4 cm", [24]),
        ("a 2.4-cm mass", [24]),
        ("a 24mm mass", [24]),
        ("2.4 centimetres", [24]),
        (".5 cm", [5]),
        ("3 x 4 cm", [30, 40]),
        ("3x4x5cm", [30, 40, 50]),
        ("3-4 cm", [30, 40]),
        ("3 to 4 cm", [30, 40]),
        ("9 mm to 2 cm", [9, 20]),
        ("12 mm, 3 cm", [12, 30]),
        ("5 years, 3 cm", [5, 30]),
        ("65 and 65.0", [65, 65]),
        ("1,234 ng/mL", [1234]),
        ("BP 120/80 mmHg", [120, 80]),
        ("area 3 cm2, 3 cm\u00b2", [3, 3]),
        ("change of -5.5 HU", [-5.5]),
        ("change of \u22125.5 HU", [-5.5]),
        ("SUV<2.5", [2.5]),
        ("\u0663 cm", [30]),
        ("cT2N0, HER2", []),
        ("seen 12.03.2021, software v1.2.3", []),
        ("record 123456789012345", []),
        ("two of three", []),
    ],
)
def test_numbers_are_read_with_lengths_in_millimetres(note: str, values: list[float]) -> None:
    assert read_numbers(note).values == pytest.approx(tuple(values))


@pytest.mark.parametrize("as_token", [False, True])
@pytest.mark.parametrize("note", NOTES[:4])
def test_every_span_holds_its_number(note: str, as_token: bool) -> None:
    reading = read_numbers(note, as_token=as_token)
    literals = [reading.text[start:end] for start, end in reading.spans]
    assert literals == [NUMBER if as_token else f"{v:.10g}" for v in reading.values]


@pytest.mark.parametrize(
    ("one", "other"),
    [("lesion of 2.4 cm", "lesion of 24 mm"), ("lesion of 2.4 cm", "a lesion of 2,40 cm"[2:]), ("CEA 65", "CEA 65.0"),
     ("2.4-cm lesion", "24 mm lesion")],
)  # fmt: skip
def test_the_same_quantity_written_differently_gives_the_same_tokens(tokenizer: NoteTokenizer, one: str, other: str) -> None:
    a, b = tokenizer.encode(one)[0], tokenizer.encode(other)[0]
    assert a.ids.tolist() == b.ids.tolist()
    assert a.values.tolist() == b.values.tolist()


def test_each_value_sits_on_its_own_token(tokenizer: NoteTokenizer) -> None:
    tokens, _ = tokenizer.encode("61-year-old man, 3x4 cm, CEA 4.2")
    number = tokenizer._tokenizer.token_to_id(NUMBER)
    assert np.array_equal(tokens.ids == number, tokens.is_number)
    assert tokens.values[tokens.is_number] == pytest.approx([61, 30, 40, 4.2])
    assert not tokens.values[~tokens.is_number].any()


@pytest.mark.parametrize(
    ("affirmed", "denied"),
    [("weight loss", "no weight loss"), ("Reports weight loss.", "Denies weight loss."),
     ("with weight loss", "without weight loss"), ("positive for weight loss", "negative for weight loss")],
)  # fmt: skip
def test_negation_survives_tokenising(tokenizer: NoteTokenizer, affirmed: str, denied: str) -> None:
    yes, no = tokenizer.encode(affirmed)[0].ids, tokenizer.encode(denied)[0].ids
    assert yes.tolist() != no.tolist()
    assert tokenizer._unknown_id not in no
    assert tokenizer._unknown_id not in yes


def test_a_long_note_is_cut_and_says_how_much_was_read(tokenizer: NoteTokenizer) -> None:
    note = " ".join(f"lesion {n} mm" for n in range(1, 101))
    tokens, notices = tokenizer.encode(note)
    assert len(tokens.ids) == tokenizer.max_tokens
    assert [n.code for n in notices] == ["W_NOTE_CUT"]
    assert "302 tokens; the first 48 (15%" in notices[0].message
    assert tokens.values[tokens.is_number].tolist() == list(range(1, 16))
    used = tokenizer.used_text(note)
    assert note.startswith(used)
    assert used.endswith("lesion 15 mm lesion")


@pytest.mark.parametrize(("words", "cut"), [(45, False), (46, False), (47, True)])
def test_only_a_note_longer_than_the_limit_is_cut(tokenizer: NoteTokenizer, words: int, cut: bool) -> None:
    note = " ".join(["lesion"] * words)
    tokens, notices = tokenizer.encode(note)
    assert len(tokens.ids) == min(words, 46) + 2
    assert bool(notices) == cut
    assert (tokenizer.used_text(note) != note) == cut


def test_another_script_is_told(tokenizer: NoteTokenizer) -> None:
    _, notices = tokenizer.encode("\u80ba\u764c \u0440\u0430\u043a lesion")
    assert [n.code for n in notices] == ["W_NOTE_UNKNOWN"]


def test_a_tokenizer_survives_json(tokenizer: NoteTokenizer) -> None:
    again = NoteTokenizer.from_json(tokenizer.to_json(), tokenizer.recipe)
    assert again.vocabulary_size == tokenizer.vocabulary_size
    for note in NOTES[:4]:
        one, other = tokenizer.encode(note)[0], again.encode(note)[0]
        assert one.ids.tolist() == other.ids.tolist()
        assert one.values.tolist() == other.values.tolist()


def test_the_same_notes_give_the_same_tokenizer() -> None:
    one, other = (NoteTokenizer.trained_on(NOTES, vocabulary=200, max_tokens=48).to_json() for _ in range(2))
    assert one == other


HOSTILE = {
    "digits": "1" * 32_768,
    "dots": "1." * 16_384,
    "commas": "1,2" * 10_000,
    "dashes": "-" * 32_768,
    "products": "1 x " * 8_192,
    "ranges": "1 cm-" * 6_000,
    "mixed": "A1" * 16_384,
    "emoji": "\U0001f642" * 9_000,
    "special": "[NUM] [PAD] [CLS] [SEP] [MASK] 5",
    "huge": "9" * 400 + " cm",
    "points": "." * 32_768,
    "word": "a" * 32_768,
    "format": "%s %d {} \\ \x00",
}


@pytest.mark.parametrize("note", HOSTILE.values(), ids=HOSTILE)
def test_hostile_notes_are_read_without_backtracking_into_finite_numbers(tokenizer: NoteTokenizer, note: str) -> None:
    start = time.perf_counter()
    tokens, _ = tokenizer.encode(note)
    tokenizer.used_text(note)
    assert time.perf_counter() - start < 20  # what backtracks takes hours
    assert np.isfinite(tokens.values).all()
    assert 0 < len(tokens.ids) <= tokenizer.max_tokens
