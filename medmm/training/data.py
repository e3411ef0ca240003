"""Cohort cases to network-ready samples, read once and kept on disk while training lasts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medmm.disk import replace_bytes
from medmm.encoders.text import read_pretrained
from medmm.errors import CohortError, MedmmError
from medmm.geometry import Grid
from medmm.sources import Opener
from medmm.sources.cohort import Case
from medmm.sources.jail import read_ahead
from medmm.study import Note, Study
from medmm.training.config import TrainConfig
from medmm.transforms.batch import Preprocessor, Sample
from medmm.transforms.text import NoteTokenizer
from medmm.transforms.volume import VolumeRecipe, plan_recipe
from medmm.types import OnProgress, Unit

_PLANNED_FROM = 48  # studies looked at to choose shape and spacing
_VOCABULARY = 4000


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that could not be used, and the stable code of the reason."""

    study_id: str
    code: str
    message: str


def plan_preprocessing(cases: Sequence[Case], config: TrainConfig, on_progress: OnProgress) -> Preprocessor:
    """Choose the image recipe and learn the vocabulary, from training cases only.

    Raises:
        CohortError: If the training cases hold neither images nor notes that can be read.
    """
    volume, tokenizer = None, None
    if "image" in config.modalities and any(c.images for c in cases):
        volume = _plan_volume(cases, config, on_progress)
    if "text" in config.modalities and any(c.note for c in cases):
        tokenizer = _make_tokenizer(cases, config)
    if volume is None and tokenizer is None:
        msg = f"Expected training cases with {' or '.join(config.modalities)}; none could be read. Check the paths."
        raise CohortError(msg)
    return Preprocessor(volume, tokenizer)


class CachedSamples(Sequence[Sample]):
    """Samples whose images lie in a cache folder and are read when asked for.

    Args:
        samples: Tokens of each sample and the file of its image.
    """

    def __init__(self, samples: list[tuple[Path | None, Sample]]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        file, sample = self._samples[index]
        image = None if file is None else torch.from_numpy(np.load(file, allow_pickle=False))
        return Sample(image, sample.tokens)

    def image_sha256(self, index: int) -> str:
        """Digest of the image a sample was made from, empty without one."""
        file, _ = self._samples[index]
        return "" if file is None else file.with_suffix(".sha256").read_text(encoding="ascii")

    def take(self, rows: Sequence[int]) -> CachedSamples:
        """A subset in the given order."""
        return CachedSamples([self._samples[i] for i in rows])


def cache_samples(
    cases: Sequence[Case], preprocessor: Preprocessor, folder: Path, on_progress: OnProgress
) -> tuple[list[int], CachedSamples, list[Failure]]:
    """Read every case once.

    Args:
        cases: What to read.
        preprocessor: Recipe.
        folder: Cache; images already in it from an interrupted run are not read again.
        on_progress: Told after each case.

    Returns:
        Index into `cases` of each usable one, its samples, and the failures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        _Job(case, folder / f"{i:06d}.npy", bool(case.images) and preprocessor.volume is not None) for i, case in enumerate(cases)
    ]
    kept: list[int] = []
    samples: list[tuple[Path | None, Sample]] = []
    failures: list[Failure] = []
    with closing(read_ahead(jobs)) as opened:
        for index, (job, study) in enumerate(opened):
            try:
                samples.append(_keep(job, study, preprocessor))
                kept.append(index)
            except MedmmError as error:
                failures.append(Failure(job.case.study_id, error.code, error.message))
            on_progress("reading studies", index + 1, len(cases))
    return kept, CachedSamples(samples), failures


@dataclass(frozen=True, slots=True)
class _Job:
    """What is still to be read of a case, given the place of its image in the cache."""

    case: Case
    file: Path
    imaged: bool

    def open(self, opener: Opener) -> Study:
        unread = self.imaged and not self.file.exists()
        return self.case.open(opener) if unread else Study(note=self.case.read_note())


def _keep(job: _Job, study: Study | MedmmError, preprocessor: Preprocessor) -> tuple[Path | None, Sample]:
    if isinstance(study, MedmmError):
        raise study
    if job.imaged and not study.volumes:
        return job.file, _note_sample(study.note, preprocessor)
    sample, _ = preprocessor.prepare(study)
    if sample.image is None:
        return None, sample
    replace_bytes(job.file.with_suffix(".sha256"), study.volumes[0].sha256().encode())
    partial = job.file.with_suffix(".partial")
    with partial.open("wb") as out:
        np.save(out, sample.image.numpy(), allow_pickle=False)
    partial.replace(job.file)
    return job.file, Sample(None, sample.tokens)


def _note_sample(note: Note | None, preprocessor: Preprocessor) -> Sample:
    if preprocessor.tokenizer is None or not note:
        return Sample(None, None)
    return Sample(None, preprocessor.tokenizer.encode(note.text)[0])


def _plan_volume(cases: Sequence[Case], config: TrainConfig, on_progress: OnProgress) -> VolumeRecipe | None:
    imaged = [c for c in cases if c.images]
    looked_at = [imaged[i] for i in np.linspace(0, len(imaged) - 1, min(_PLANNED_FROM, len(imaged))).astype(int)]
    found: list[tuple[Grid, Unit, str]] = []
    with closing(read_ahead(looked_at)) as opened:
        for index, (_, study) in enumerate(opened):
            if isinstance(study, Study):  # what cannot be read is reported when it is read for training
                found += [(v.grid, v.unit, v.modality) for v in study.volumes[:1]]
            on_progress("planning", index + 1, len(looked_at))
    return plan_recipe(found, config.voxels) if found else None


def _make_tokenizer(cases: Sequence[Case], config: TrainConfig) -> NoteTokenizer:
    if config.text_source is not None:
        backend, _, longest = read_pretrained(config.text_source)
        return NoteTokenizer(backend, min(config.max_tokens, longest))
    notes = [text for case in cases if (text := _note_text(case))]
    return NoteTokenizer.trained_on(notes, vocabulary=_VOCABULARY, max_tokens=config.max_tokens)


def _note_text(case: Case) -> str:
    try:
        note = case.read_note()
    except MedmmError:
        return ""  # it will be reported when it is read for training
    return note.text if note else ""
