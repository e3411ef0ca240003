"""A clinical note that carries one finding, in varied words, among sentences that mean nothing.

The text finding shows in two or all of three ways, of which two are numbers and one is a negation:
a tumour marker above or below 5 ng/mL, an earlier measurement above or below 4 cm (written in cm
or mm), weight loss affirmed or denied. Other sentences, many of them negated or with numbers of
their own, are drawn without regard to it.
"""

from __future__ import annotations

import numpy as np

_OPENERS = (
    "{age}-year-old {sex}.",
    "{sex}, {age} years.",
    "This {age} year old {sex} was referred from the clinic.",
    "Patient: {sex}, aged {age}.",
)
_REASONS = (
    "Cough for {weeks} weeks.",
    "Follow-up after pneumonia.",
    "Abnormal chest film.",
    "Pre-operative assessment.",
    "Shortness of breath on exertion.",
    "Chest CT requested for staging.",
)
_MARKER = (
    "CEA {value} ng/mL.",
    "Carcinoembryonic antigen measured at {value} ng/mL.",
    "Tumour marker CEA was {value}.",
    "Laboratory: CEA {value} ng/mL last week.",
)
_SIZE = (
    "Lesion on the outside film measured {size}.",
    "Previously described opacity of {size}.",
    "Earlier imaging reported a {size} lesion.",
    "Known lesion, {size} in diameter.",
)
_LOSS = (
    "Reports weight loss.",
    "Marked weight loss over recent months.",
    "Weight loss is present.",
    "Positive for weight loss.",
)
_NO_LOSS = (
    "No weight loss.",
    "Denies weight loss.",
    "Without any weight loss.",
    "Negative for weight loss.",
)
_OTHER = (
    ("No fever.", "Fever for {days} days."),
    ("Denies chest pain.", "Chest pain on exertion."),
    ("No known allergies.", "Allergic to penicillin."),
    ("Never smoked.", "Smokes {cigarettes} cigarettes a day."),
    ("No previous operations.", "Appendectomy in {year}."),
    ("Negative for diabetes.", "Type 2 diabetes, on metformin."),
    ("Creatinine {creatinine} mg/dL.", "Haemoglobin {haemoglobin} g/dL."),
    ("Blood pressure {systolic}/{diastolic} mmHg.", "Pulse {pulse} per minute."),
)


def write_note(rng: np.random.Generator, *, finding: bool) -> str:
    """Write one note.

    Args:
        rng: Source of every random choice.
        finding: Whether the text finding is present.
    """
    ways = rng.permutation(len(_WAYS))[: rng.integers(2, len(_WAYS) + 1)]
    sentences = [_reason(rng), *(_WAYS[way](rng, finding) for way in ways)]
    for index in rng.choice(len(_OTHER), size=int(rng.integers(2, 5)), replace=False):
        sentences.append(_fill(pick(rng, _OTHER[index]), rng))
    rng.shuffle(sentences)
    opener = pick(rng, _OPENERS).format(age=int(rng.integers(35, 88)), sex=pick(rng, ("man", "woman")))
    return " ".join([opener[0].upper() + opener[1:], *sentences])


def _reason(rng: np.random.Generator) -> str:
    return pick(rng, _REASONS).format(weeks=int(rng.integers(2, 13)))


def _marker(rng: np.random.Generator, finding: bool) -> str:
    value = log_uniform(rng, 8.0, 80.0) if finding else log_uniform(rng, 0.5, 3.0)
    return pick(rng, _MARKER).format(value=f"{value:.1f}")


def _size(rng: np.random.Generator, finding: bool) -> str:
    centimetres = rng.uniform(5.5, 9.5) if finding else rng.uniform(0.8, 2.8)
    size = f"{centimetres:.1f} cm" if rng.random() < 0.5 else f"{centimetres * 10:.0f} mm"
    return pick(rng, _SIZE).format(size=size)


def _loss(rng: np.random.Generator, finding: bool) -> str:
    return pick(rng, _LOSS if finding else _NO_LOSS)


_WAYS = (_marker, _size, _loss)


def _fill(sentence: str, rng: np.random.Generator) -> str:
    return sentence.format(
        days=int(rng.integers(1, 15)),
        cigarettes=int(rng.integers(2, 31)),
        year=int(rng.integers(1975, 2020)),
        creatinine=f"{rng.uniform(0.6, 1.4):.1f}",
        haemoglobin=f"{rng.uniform(10.5, 16.5):.1f}",
        systolic=int(rng.integers(105, 165)),
        diastolic=int(rng.integers(60, 98)),
        pulse=int(rng.integers(55, 105)),
    )


def pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    """One of several wordings."""
    return options[int(rng.integers(len(options)))]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
