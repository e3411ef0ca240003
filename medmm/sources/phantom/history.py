"""A short history that tells one of five courses, in varied words, among sentences that mean nothing.

A course is four findings, two of them numbers and two affirmed or denied: how long the lesion has been there, CRP,
pain, growth. An even number of them is suspicious, so that any three tell the fourth: every history leaves one out,
and no finding alone tells a course.
"""

from __future__ import annotations

import numpy as np

from medmm.sources.phantom.note import log_uniform, pick

COURSES = ((0, 0, 0, 0), (1, 1, 0, 0), (0, 1, 1, 0), (0, 0, 1, 1), (1, 0, 0, 1))
"""Whether duration, CRP, pain and growth are suspicious, for each course."""

_OPENERS = (
    "{age}-year-old {sex}.",
    "{sex}, {age} years.",
    "This {age} year old {sex} was referred with a lesion.",
    "Patient: {sex}, aged {age}.",
)
_DURATION = (
    "Present for {time}.",
    "First noticed {time} ago.",
    "The lesion has been there for {time}.",
    "Onset {time} ago.",
)
_CRP = (
    "CRP {value} mg/L.",
    "C-reactive protein measured at {value} mg/L.",
    "Laboratory: CRP {value}.",
    "CRP was {value} mg/L last week.",
)
_PAIN = (
    ("No pain.", "Denies pain.", "Without pain.", "Not painful."),
    ("Reports pain.", "Painful.", "Pain is present.", "Complains of pain."),
)
_GROWTH = (
    ("No growth.", "Has not grown.", "Denies growth.", "Without growth."),
    ("Has grown.", "Reports growth.", "Growth was noted.", "Positive for growth."),
)
_OTHER = (
    ("No fever.", "Fever for {days} days."),
    ("Denies itching.", "Itching at night."),
    ("No known allergies.", "Allergic to penicillin."),
    ("Never smoked.", "Smokes {cigarettes} cigarettes a day."),
    ("Negative for diabetes.", "Type 2 diabetes, on metformin."),
    ("Haemoglobin {haemoglobin} g/dL.", "Blood pressure {systolic}/{diastolic} mmHg."),
)


def write_history(rng: np.random.Generator, *, course: int) -> str:
    """Write one history.

    Args:
        rng: Source of every random choice.
        course: Index into `COURSES`.
    """
    told = rng.permutation(len(_FINDINGS))[1:]
    sentences = [_FINDINGS[which](rng, COURSES[course][which]) for which in told]
    for index in rng.choice(len(_OTHER), size=int(rng.integers(1, 4)), replace=False):
        sentences.append(
            pick(rng, _OTHER[index]).format(
                days=int(rng.integers(1, 15)), cigarettes=int(rng.integers(2, 31)), haemoglobin=f"{rng.uniform(10.5, 16.5):.1f}",
                systolic=int(rng.integers(105, 165)), diastolic=int(rng.integers(60, 98)),
            )
        )  # fmt: skip
    rng.shuffle(sentences)
    opener = pick(rng, _OPENERS).format(age=int(rng.integers(18, 88)), sex=pick(rng, ("man", "woman")))
    return " ".join([opener[0].upper() + opener[1:], *sentences])


def _duration(rng: np.random.Generator, suspicious: int) -> str:
    """Days, or months and years."""
    days = log_uniform(rng, 4, 25) if suspicious else log_uniform(rng, 400, 3000)
    long = f"{days / 30:.0f} months" if rng.random() < 0.5 else f"{days / 365:.1f} years"
    return pick(rng, _DURATION).format(time=f"{days:.0f} days" if suspicious else long)


def _crp(rng: np.random.Generator, suspicious: int) -> str:
    value = log_uniform(rng, 25.0, 180.0) if suspicious else log_uniform(rng, 0.4, 5.0)
    return pick(rng, _CRP).format(value=f"{value:.1f}")


def _pain(rng: np.random.Generator, suspicious: int) -> str:
    return pick(rng, _PAIN[suspicious])


def _growth(rng: np.random.Generator, suspicious: int) -> str:
    return pick(rng, _GROWTH[suspicious])


_FINDINGS = (_duration, _crp, _pain, _growth)
