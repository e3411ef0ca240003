"""Random changes of training notes that leave what they say alone."""

from __future__ import annotations

import re

import numpy as np
import torch

from medmm.study import Note
from medmm.transforms.augment.choice import TextChanges

_WORD = re.compile(r"(?<![^\W_])[^\W\d_]{4,}(?![^\W_])")  # letters alone


def change_note(note: Note, changes: TextChanges, rng: np.random.Generator) -> Note:
    """A note that says the same in other words, with typing errors, and perhaps less."""
    text = note.text
    if changes.sections:
        sections = note.sections
        kept = [str(s) for s in sections if rng.random() >= changes.sections]
        text = "\n".join(kept or [str(s) for s in sections[-1:]])
    if changes.synonyms:
        text = exchange_synonyms(text, changes.synonym_groups, changes.synonyms, rng)
    if changes.typos:
        text = _WORD.sub(lambda m: _swapped(m[0], rng) if rng.random() < changes.typos else m[0], text)
    return Note(text)


def exchange_synonyms(text: str, groups: tuple[tuple[str, ...], ...], share: float, rng: np.random.Generator) -> str:
    """The text with a share of the words of these groups exchanged for others of their group; capitals stay."""
    group_of = {word.casefold(): group for group in groups for word in group}
    longest_first = sorted(group_of, key=len, reverse=True)
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)

    def exchange(found: re.Match[str]) -> str:
        others = [word for word in group_of[found[0].casefold()] if word.casefold() != found[0].casefold()]
        if not others or rng.random() >= share:
            return found[0]
        other = others[int(rng.integers(len(others)))]
        return other.upper() if found[0].isupper() else other.capitalize() if found[0][0].isupper() else other

    return pattern.sub(exchange, text) if group_of else text


def hide_tokens(
    tokens: tuple[torch.Tensor, ...], hidden_id: int, share: float, rng: np.random.Generator
) -> tuple[torch.Tensor, ...]:
    """(T,) ids, values and `is_number` with a share of the tokens hidden, the marks of start and end aside."""
    ids, values, is_number = tokens
    hidden = torch.from_numpy(rng.random(len(ids)) < share)
    hidden[[0, -1]] = False
    return ids.masked_fill(hidden, hidden_id), values.masked_fill(hidden, 0.0), is_number & ~hidden


def _swapped(word: str, rng: np.random.Generator) -> str:
    at = 1 + int(rng.integers(len(word) - 2))
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
