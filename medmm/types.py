"""Names for the shapes and words that cross module borders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
IntArray: TypeAlias = NDArray[np.integer[Any]]
AnyArray: TypeAlias = NDArray[Any]

Modality = Literal["image", "text", "audio", "tabular"]
"""What a study can hold and an encoder can read."""

MODALITIES: tuple[Modality, ...] = ("image", "text", "audio", "tabular")
"""Canonical order of modalities wherever one is needed."""

Kind = Literal["binary", "multiclass", "multilabel"]
"""What is predicted: one of two classes, one of many, or any subset of many."""

Unit = Literal["HU", "BQML", "CNTS", "GML", "intensity"]
"""What a voxel value means: Hounsfield units; activity, counts or uptake of PET in the words of DICOM; or nothing stated,
as in MR and in the grey levels 0 to 255 of pictures."""


OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what is being done, done, total) while something long goes on."""


def pattern_name(modalities: frozenset[Modality] | set[Modality]) -> str:
    """Name a subset of modalities, e.g. `image+text`; the key of calibration and arms."""
    return "+".join(m for m in MODALITIES if m in modalities)


def in_words(modality: Modality) -> str:
    """What a modality is called in a sentence."""
    return "tabular values" if modality == "tabular" else modality
