"""One patient's study in memory: what was imaged, what was written, and where it all came from.

Everything is numpy and plain text, so a study can be made, checked and sent between processes
without torch. Array layout and axes are those of `medmm.geometry`.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydantic import ConfigDict

from medmm.errors import NonFiniteError, NotHounsfieldError, TextError, TooLargeError, ValuesError
from medmm.geometry import Grid, reorient
from medmm.sections import Section, SectionName, keep_sections, split_sections
from medmm.settings import LIMITS
from medmm.types import AnyArray, Modality, Unit

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_LIMIT = " <>=≤≥"  # before a number: beyond what the laboratory can measure


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a reader of the result should know. `code` is stable; `message` holds no identifiers."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Volume:
    """An image with its geometry.

    Attributes:
        array: (C, I, J, K), int16 or float32, finite. A 2-D picture has K = 1.
        grid: Geometry of the three voxel axes.
        unit: `HU` for CT; `BQML`, `CNTS` or `GML` for PET that says so; `intensity` for pictures (0 to 255) and
            anything not calibrated.
        modality: DICOM word for the device: CT, MR, PT, or OT for pictures.
        window: Width and level, in its unit, that the file suggests to look at it in; None without one.

    Raises:
        TooLargeError, NonFiniteError, NotHounsfieldError: If the values cannot be what they claim.
    """

    array: AnyArray
    grid: Grid
    unit: Unit
    modality: str
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or self.array.shape[1:] != self.grid.shape:
            msg = f"Expected an array (C, I, J, K) matching its grid {self.grid.shape}; got {self.array.shape}."
            raise ValueError(msg)
        if self.array.size > LIMITS.voxels:
            msg = f"Expected at most {LIMITS.voxels:,} voxels; got {self.array.size:,}. Crop or resample the image first."
            raise TooLargeError(msg)
        if self.array.dtype.kind == "f" and not np.isfinite(self.array).all():
            msg = "Expected finite voxel values; got NaN or infinity. The image or its rescale values are damaged."
            raise NonFiniteError(msg)
        low, high = LIMITS.hu
        fits = self.array.dtype == np.int16 and low <= np.iinfo(np.int16).min and np.iinfo(np.int16).max <= high
        if self.unit == "HU" and not fits and (self.array.min() < low or self.array.max() > high):
            msg = f"Expected Hounsfield units within {low:.0f} to {high:.0f}; got values outside. Check the rescale tags."
            raise NotHounsfieldError(msg)

    def sha256(self) -> str:
        """Digest of the voxels in anatomical order: one and the same for every format, orientation and encoding of an image.

        Hounsfield units count to the nearest whole one.
        """
        array, _ = reorient(self.array, self.grid.affine)
        whole = self.unit == "HU"
        small = whole and (array.dtype == np.int16 or (array.min() >= -32768 and array.max() <= 32767))
        kind = "<i2" if small else "<i4" if whole else "<f4"
        digest = hashlib.sha256(f"{array.shape} {kind}".encode())
        for slab in array.reshape(-1, *array.shape[2:]):  # one at a time: a copy of the whole may not fit
            digest.update((np.rint(slab) if whole and slab.dtype.kind == "f" else slab).astype(kind).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Note:
    """Clinical text, cleaned: control and invisible characters removed, line ends unified.

    Attributes:
        text: The cleaned text.
        notices: What happened to it on the way here.
        encoding: Of the file it came from, e.g. `utf-8`; empty when it was typed.
        confidence: How sure a speech recogniser was of it, above 0 and at most 1; 1 when a person wrote it or read it over.

    Raises:
        TextError: If longer than `LIMITS.note_chars`.
    """

    text: str
    notices: tuple[Notice, ...] = ()
    encoding: str = ""
    confidence: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.confidence <= 1:
            msg = f"Expected a confidence above 0 and at most 1; got {self.confidence:g}. Leave it out for a typed note."
            raise TextError(msg)
        if len(self.text) > LIMITS.note_chars:
            msg = f"Expected a note of at most {LIMITS.note_chars:,} characters; got {len(self.text):,}. Shorten it."
            raise TextError(msg)
        unified = self.text.replace("\r\n", "\n").replace("\r", "\n")
        object.__setattr__(self, "text", _CONTROL.sub("", unified).strip())

    def __bool__(self) -> bool:
        return bool(self.text)

    @property
    def sections(self) -> tuple[Section, ...]:
        """The text by its headings: indication, technique, comparison, findings, impression."""
        return split_sections(self.text)

    def keeping(self, sections: Sequence[SectionName] | None) -> Note:
        """The note without other sections, and a notice that says which were left out; the same note when None."""
        text = keep_sections(self.text, sections)
        if text == self.text or sections is None:
            return self
        left = sorted({s.name or "text under no heading" for s in self.sections if s.name not in sections})
        told = (Notice("W_NOTE_SECTIONS", f"Left out of the note, because it could state the answer: {', '.join(left)}."),)
        return replace(self, text=text, notices=(*self.notices, *(told if left else ())))


@dataclass(frozen=True, slots=True)
class Recording:
    """Spoken words.

    Attributes:
        samples: (N,) float32, one channel, finite.
        rate: Samples a second.
    """

    samples: AnyArray
    rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.dtype != np.float32 or not len(self.samples):
            msg = f"Expected (N,) float32 samples; got {self.samples.shape} {self.samples.dtype}."
            raise ValueError(msg)
        if not np.isfinite(self.samples).all():
            msg = "Expected finite audio samples; got NaN or infinity. The recording is damaged."
            raise NonFiniteError(msg)

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.rate


UNBOUNDED = (-1e12, 1e12)
"""Bounds of a tabular value for which none are stated."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What one tabular value measures, and what is believable.

    Attributes:
        name: E.g. `age`; the column of a cohort that holds it.
        unit: E.g. `years`.
        low, high: Smallest and largest believable value, in `unit`; any number when not stated.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    unit: str
    low: float = UNBOUNDED[0]
    high: float = UNBOUNDED[1]

    def __post_init__(self) -> None:
        if not self.name or not -np.inf < self.low < self.high < np.inf:
            msg = "a quantity needs a name and finite bounds, low below high"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Category:
    """What one tabular value names.

    Attributes:
        name: E.g. `sex`; the column of a cohort that holds it.
        words: What it may be; another word is not refused, a model says that it does not know it.
    """

    name: str
    words: tuple[str, ...]


def read_number(cell: str) -> float | None:
    """The number in a cell of a table, None when there is none.

    A laboratory's limit, such as `>=90` or `< 0.5`, is read as the limit.
    """
    try:
        return float(cell.lstrip(_LIMIT))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Values:
    """Tabular values of one patient: age, laboratory results, sex. A missing one is None, and legal.

    Attributes:
        quantities: What the numbers measure.
        numbers: One for each quantity.
        words: Name of each category to its value.

    Raises:
        ValuesError: If a number is not believable.
    """

    quantities: tuple[Quantity, ...] = ()
    numbers: tuple[float | None, ...] = ()
    words: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def from_cells(cls, fields: Iterable[Quantity | Category], cells: Mapping[str, str]) -> Values:
        """Values from the text of a table or a form; an empty or absent cell is a missing one.

        Raises:
            ValuesError: If a quantity is not a number or not believable.
        """
        asked = list(fields)
        quantities = tuple(f for f in asked if isinstance(f, Quantity))
        numbers = tuple(_number(cells.get(q.name, ""), q.name) for q in quantities)
        return cls(quantities, numbers, {f.name: cells.get(f.name) or None for f in asked if isinstance(f, Category)})

    @property
    def known(self) -> dict[str, float | str]:
        """Name to value of those that are not missing."""
        numbers = {q.name: n for q, n in zip(self.quantities, self.numbers, strict=True) if n is not None}
        return numbers | {name: word for name, word in self.words.items() if word is not None}

    def __post_init__(self) -> None:
        for quantity, number in zip(self.quantities, self.numbers, strict=True):
            if number is not None and not quantity.low <= number <= quantity.high:  # NaN is within no bounds
                msg = (
                    f"Expected {quantity.name} within {quantity.low:g} to {quantity.high:g} {quantity.unit}, or nothing; "
                    "got a value outside. Correct it, or its unit."
                )
                raise ValuesError(msg)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Name to value and unit, JSON ready; a missing value is null."""
        numbers = {q.name: {"value": n, "unit": q.unit} for q, n in zip(self.quantities, self.numbers, strict=True)}
        return numbers | {name: {"value": word, "unit": ""} for name, word in self.words.items()}


def refuse_unknown(cells: Iterable[str], fields: Iterable[Quantity | Category]) -> None:
    """Refuse a name among those of values that is none of these.

    Raises:
        ValuesError: With the nearest name.
    """
    known = [f.name for f in fields]
    for name in cells:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            msg = f"Expected values among {', '.join(known) or 'none, as this model reads none'}; got {name!r}.{hint}"
            raise ValuesError(msg)


@dataclass(frozen=True, slots=True)
class Provenance:
    """How the study came to be: what was chosen by which rule, what was left out and why.

    Attributes:
        source: `dicom`, `nifti`, `picture` or empty.
        chosen: The series that was read, described without identifiers.
        rule: The stated rule that chose it.
        left_out: (reason, number of files) for everything not read.
        repairs: What was mended because the caller asked for it.
        inventory: All that lay there: kind, description, number of files, whether it was read.
    """

    source: str = ""
    chosen: str = ""
    rule: str = ""
    left_out: tuple[tuple[str, int], ...] = ()
    repairs: tuple[str, ...] = ()
    inventory: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Study:
    """Images and text of one patient at one time.

    Attributes:
        volumes: Images, the one to classify first.
        note: Clinical text, or None.
        notices: What the reader should be told.
        provenance: How the images were chosen.
        recording: Spoken words, or None.
        values: Tabular values, or None.
        unopened: What lies there too and was not opened, because nobody asked for it.
    """

    volumes: tuple[Volume, ...] = ()
    note: Note | None = None
    notices: tuple[Notice, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    recording: Recording | None = None
    values: Values | None = None
    unopened: frozenset[Modality] = frozenset()

    @property
    def modalities(self) -> frozenset[Modality]:
        """What is present: an image, a note that says something, a recording, a tabular value that is not missing."""
        present: set[Modality] = set()
        if self.volumes:
            present.add("image")
        if self.note:
            present.add("text")
        if self.recording is not None:
            present.add("audio")
        if self.values is not None and self.values.known:
            present.add("tabular")
        return frozenset(present)

    def with_note(self, note: Note | None) -> Study:
        """The same study with this note, and what is to be known of it."""
        return self if note is None else replace(self, note=note).with_notices(*note.notices)

    def with_images(self, other: Study) -> Study:
        """The same study with the images of another after its own, and what is to be known of them."""
        provenance = replace(
            self.provenance,
            chosen="; ".join(filter(None, (self.provenance.chosen, other.provenance.chosen))),
            rule="; ".join(dict.fromkeys(filter(None, (self.provenance.rule, other.provenance.rule)))),
            left_out=(*self.provenance.left_out, *other.provenance.left_out),
            repairs=(*self.provenance.repairs, *other.provenance.repairs),
            inventory=(*self.provenance.inventory, *other.provenance.inventory),
        )
        notices = [notice for notice in other.notices if notice not in self.notices]
        return replace(self, volumes=(*self.volumes, *other.volumes), provenance=provenance).with_notices(*notices)

    def with_notices(self, *notices: Notice) -> Study:
        """The same study with more notices."""
        return replace(self, notices=(*self.notices, *notices))

    def summary(self) -> dict[str, Any]:
        """Geometry and provenance without identifiers, JSON ready."""
        volume = self.volumes[0] if self.volumes else None
        return {
            "geometry": None if volume is None else {**volume.grid.summary(), "unit": volume.unit, "modality": volume.modality},
            "source": self.provenance.source,
            "series": self.provenance.chosen,
            "rule": self.provenance.rule,
            "left_out": [{"reason": reason, "files": count} for reason, count in self.provenance.left_out],
            "repairs": list(self.provenance.repairs),
            "inventory": list(self.provenance.inventory),
            "note": None if self.note is None else _note_summary(self.note),
            "audio": None if self.recording is None else {"seconds": round(self.recording.seconds, 1)},
            "values": None if self.values is None else [*self.values.to_dict()],
        }


def _number(cell: str, name: str) -> float | None:
    number = read_number(cell)
    if number is None and cell:
        msg = f"Expected a number or nothing as {name}; got something else. Correct it."
        raise ValuesError(msg)
    return number


def _note_summary(note: Note) -> dict[str, Any]:
    sections = [{"name": s.name or "text", "characters": len(s.text)} for s in note.sections]
    return {"characters": len(note.text), "encoding": note.encoding or None, "sections": sections}
