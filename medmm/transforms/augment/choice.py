"""What may be varied in training studies, and how far. Every kind of change has its key; 0 leaves it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Side = Literal["left_right", "back_front", "foot_head"]

SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("shortness of breath", "dyspnea", "breathlessness"), ("fever", "pyrexia"), ("vomiting", "emesis"), ("itching", "pruritus"),
    ("kidney", "renal"), ("liver", "hepatic"), ("lung", "pulmonary"), ("heart", "cardiac"), ("brain", "cerebral"),
    ("hypertension", "high blood pressure"), ("stroke", "cerebrovascular accident"), ("myocardial infarction", "heart attack"),
    ("physician", "doctor"), ("evaluate", "assess"), ("approximately", "about"), ("presents with", "presenting with"),
    ("swelling", "edema"), ("chest pain", "thoracic pain"), ("abdominal pain", "pain in the abdomen"), ("cancer", "malignancy"),
    ("surgery", "operation"), ("prior", "previous"),
)  # fmt: skip
"""Words that mean the same in a clinical note; the words of a group replace each other."""


@dataclass(frozen=True, slots=True)
class ImageChanges:
    """Of images; all images of a study are changed alike.

    Attributes:
        chance: Of turning, scaling, cropping and shifting, and of each of `flip`.
        rotation: Degrees about every axis, of a picture about the line of sight.
        scale: Share of size.
        shift: Voxels; wider shifts made weak labels unlearnable.
        crop: Most of each side that is cut away, what is left being enlarged.
        flip: Sides that may be exchanged. None by default: the heart is on the left, the liver on the right.
        brightness: Share of the first window.
        contrast: Share, about the middle of the first window.
        noise: Standard deviation, as a share of the first window.
        slice_dropout: Share of axial slices shown as air.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    chance: Share = 0.3
    rotation: Annotated[float, Field(ge=0, le=180)] = 7.0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.1
    shift: Amount = 2.0
    crop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    flip: tuple[Side, ...] = ()
    brightness: Amount = 0.02
    contrast: Share = 0.05
    noise: Amount = 0.0
    slice_dropout: Share = 0.0


@dataclass(frozen=True, slots=True)
class TextChanges:
    """Of notes. Numbers are never changed.

    Attributes:
        synonyms: Share of the words of `synonym_groups` that another of their group replaces.
        synonym_groups: Words and phrases that mean the same.
        typos: Share of the words of four letters or more in which two neighbouring letters change places.
        sections: Share of the sections left out; one stays at least.
        tokens: Share of the tokens hidden from the encoder.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    synonyms: Share = 0.0
    synonym_groups: tuple[tuple[str, ...], ...] = SYNONYMS
    typos: Share = 0.0
    sections: Share = 0.0
    tokens: Share = 0.0


@dataclass(frozen=True, slots=True)
class AudioChanges:
    """Of recordings (SpecAugment, Park et al. 2019): stretches and bands set to the mean; a waveform has stretches only.

    Attributes:
        stretches: How many.
        stretch: Longest one, as a share of the recording.
        bands: How many.
        band: Widest one, as a share of the mel bands.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    stretches: Count = 0
    stretch: Share = 0.1
    bands: Count = 0
    band: Share = 0.2


@dataclass(frozen=True, slots=True)
class TabularChanges:
    """Of tabular values.

    Attributes:
        noise: Standard deviation, in standard deviations of the training patients.
        missing: Share of the values that are made missing.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    noise: Amount = 0.0
    missing: Share = 0.0


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may be varied in each modality. Labels stay as they are."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    image: ImageChanges = field(default_factory=ImageChanges)
    text: TextChanges = field(default_factory=TextChanges)
    audio: AudioChanges = field(default_factory=AudioChanges)
    tabular: TabularChanges = field(default_factory=TabularChanges)
