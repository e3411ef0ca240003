"""Studies made worse on purpose, to see how much a model depends on their quality. Numpy and scipy only.

A perturbation is data: a name, a level and a seed. The same perturbation of the same sample is the same
change everywhere, and a higher level changes the same places more, so that curves over levels are smooth.
Image damage models: Hendrycks & Dietterich 2019 (arXiv 1903.12261), in units of CT.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from medmm.errors import TaskError
from medmm.geometry import Grid
from medmm.study import Note, Study, Volume
from medmm.types import FloatArray, Modality

WORD_ATTACKS = ("words", "words_pgd", "random_words")
ATTACKS = ("fgsm", "pgd", "random_sign", *WORD_ATTACKS)
"""Perturbations of what the network reads, and random ones of the same size to compare with: see `medmm.evaluation.attack`."""


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One way to make a study worse.

    Attributes:
        name: One of `UNITS`.
        level: How much, in its unit.
        seed: Of its random choices.
    """

    name: str
    level: float
    seed: int = 0

    @property
    def arm(self) -> str:
        """Name of the arm of predictions made under it, e.g. `noise=20`."""
        return f"{self.name}={self.level:.12g}"

    @property
    def modality(self) -> Modality:
        """What it changes."""
        return "text" if self.name in (*_TEXT, *WORD_ATTACKS) else "image"

    def rng(self, sample_id: str) -> np.random.Generator:
        """Of its random choices for a sample, the same at every level."""
        return np.random.default_rng([self.seed, zlib.crc32(sample_id.encode()), zlib.crc32(self.name.encode())])

    def apply(self, study: Study, sample_id: str) -> Study:
        """The worse study; deterministic for a sample. Only the first image is changed."""
        rng = self.rng(sample_id)
        if self.name in _TEXT:
            return replace(study, note=_TEXT[self.name](study.note, self.level, rng)) if study.note else study
        volumes = (_IMAGE[self.name](study.volumes[0], self.level, rng), *study.volumes[1:])
        return replace(study, volumes=volumes)


def parse_perturbations(texts: tuple[str, ...] | list[str]) -> tuple[Perturbation, ...]:
    """Perturbations from words such as `noise=10,20`.

    Raises:
        TaskError: If a name is unknown, a level is no positive number, or one is stated twice.
    """
    found: list[Perturbation] = []
    for text in texts:
        name, _, levels = text.partition("=")
        try:
            found += [Perturbation(name, float(level)) for level in levels.split(",")]
        except ValueError:
            msg = f"Expected NAME=LEVEL or NAME=LEVEL,LEVEL with a name among {', '.join(UNITS)}; got something else."
            raise TaskError(msg) from None
    if len({p.arm for p in found}) < len(found) or not all(p.name in UNITS and 0 < p.level <= _most(p.name) for p in found):
        msg = f"Expected each of {', '.join(UNITS)} with levels above 0, shares up to 1, none twice; got something else."
        raise TaskError(msg)
    return tuple(found)


def _most(name: str) -> float:
    return 1.0 if UNITS[name].startswith("share") else 1e6


def _noise(volume: Volume, level: float, rng: np.random.Generator) -> Volume:
    noise = rng.standard_normal(volume.array.shape, dtype=np.float32)
    return _with(volume, volume.array + np.float32(level) * noise)


def _blur(volume: Volume, level: float, _: np.random.Generator) -> Volume:
    from scipy.ndimage import gaussian_filter

    sigma = [0.0, *(level / s if n > 1 else 0.0 for s, n in zip(volume.grid.spacing, volume.grid.shape, strict=True))]
    return _with(volume, gaussian_filter(volume.array.astype(np.float32), sigma, mode="nearest"))


def _slices(volume: Volume, level: float, _: np.random.Generator) -> Volume:
    """Every level-th slice is kept."""
    step = max(1, round(level))
    affine = volume.grid.affine.copy()
    affine[:, 2] *= step
    kept = np.ascontiguousarray(volume.array[..., ::step])
    return replace(volume, array=kept, grid=Grid((*volume.grid.shape[:2], kept.shape[-1]), affine))


def _spacing(volume: Volume, level: float, _: np.random.Generator) -> Volume:
    """Neighbouring voxels are averaged until each is about `level` mm along every axis."""
    factors = [max(1, min(round(level / s), n)) for s, n in zip(volume.grid.spacing, volume.grid.shape, strict=True)]
    whole = [n // f * f for n, f in zip(volume.grid.shape, factors, strict=True)]
    cut = volume.array[:, : whole[0], : whole[1], : whole[2]]
    (i, j, k), (a, b, c) = factors, (n // f for n, f in zip(whole, factors, strict=True))
    mean = cut.reshape(len(cut), a, i, b, j, c, k).mean(axis=(2, 4, 6), dtype=np.float32)
    inside = np.diag([*map(float, factors), 1.0])
    inside[:3, 3] = [(f - 1) / 2 for f in factors]  # centre of a block of voxels
    return _with(replace(volume, array=mean, grid=Grid((a, b, c), volume.grid.affine @ inside)), mean, like=volume)


def _with(volume: Volume, values: FloatArray, like: Volume | None = None) -> Volume:
    """The volume with other values, rounded and clipped to what its type can hold."""
    dtype = (like or volume).array.dtype
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return replace(volume, array=values.astype(dtype))


def _typos(note: Note, level: float, rng: np.random.Generator) -> Note:
    """Two neighbouring letters swapped in a share of the words of four letters or more."""
    words = note.text.split(" ")
    chance, where = rng.random(len(words)), rng.random(len(words))
    for index, word in enumerate(words):
        if len(word) > 3 and chance[index] < level:
            at = 1 + int(where[index] * (len(word) - 2))
            words[index] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return replace(note, text=" ".join(words))


def _sentences(note: Note, level: float, rng: np.random.Generator) -> Note:
    """A share of the sentences left out."""
    sentences = note.text.replace("\n", " \n").split(". ")
    kept = rng.random(len(sentences)) >= level
    return replace(note, text=". ".join(s for s, keep in zip(sentences, kept, strict=True) if keep))


def _sections(note: Note, level: float, rng: np.random.Generator) -> Note:
    """A share of the sections left out, heading and all."""
    sections = note.sections
    kept = rng.random(len(sections)) >= level
    return replace(note, text="\n".join(str(s) for s, keep in zip(sections, kept, strict=True) if keep))


def _no_note(_note: Note, _level: float, _rng: np.random.Generator) -> Note:
    return Note("")


_IMAGE: dict[str, Callable[[Volume, float, np.random.Generator], Volume]] = {
    "noise": _noise, "blur": _blur, "slices": _slices, "spacing": _spacing,
}  # fmt: skip
_TEXT: dict[str, Callable[[Note, float, np.random.Generator], Note]] = {
    "typos": _typos, "sentences": _sentences, "sections": _sections, "no_note": _no_note,
}  # fmt: skip
UNITS = {
    "noise": "HU, standard deviation", "blur": "mm, standard deviation", "slices": "one in so many slices kept",
    "spacing": "mm, voxel", "typos": "share of words", "sentences": "share of sentences left out",
    "sections": "share of sections left out", "no_note": "1: the note left out", "fgsm": "HU, largest change of a voxel",
    "pgd": "HU, largest change of a voxel", "random_sign": "HU, change of every voxel",
    **dict.fromkeys(WORD_ATTACKS, "share of the length of the word embeddings"),
}  # fmt: skip
"""What the levels of each perturbation mean."""

STANDARD = (
    "noise=10,20,40", "blur=1,2,4", "slices=2,4", "spacing=2,4", "typos=0.05,0.1,0.2", "sentences=0.25,0.5", "sections=0.5",
    "no_note=1", "fgsm=1,2,4", "pgd=2", "random_sign=1,2,4",
    "words=0.05,0.1", "words_pgd=0.05", "random_words=0.05,0.1",
)  # fmt: skip
"""A broad look: about forty times the cost of a run without."""
