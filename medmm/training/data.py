"""Cohort cases to network-ready samples, read once and kept on disk while training lasts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medmm.encoders import ENCODERS
from medmm.encoders.text import read_pretrained
from medmm.errors import CohortError, MedmmError, ValuesError
from medmm.geometry import Grid
from medmm.sources.cohort import Case
from medmm.sources.jail import read_ahead
from medmm.study import Study
from medmm.training.config import TrainConfig
from medmm.training.prepared import Prepared, prepared_in
from medmm.transforms.audio import AudioRecipe
from medmm.transforms.batch import Preprocessor, Sample
from medmm.transforms.columns import plan_table
from medmm.transforms.text import NoteTokenizer
from medmm.transforms.volume import VolumeRecipe, plan_recipe
from medmm.types import Modality, OnProgress, Unit

_PLANNED_FROM = 48  # studies looked at to choose shape and spacing
_VOCABULARY = 4000


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that could not be used, and the stable code of the reason."""

    study_id: str
    code: str
    message: str


def plan_preprocessing(cases: Sequence[Case], config: TrainConfig, on_progress: OnProgress) -> Preprocessor:
    """Choose recipes, learn the vocabulary and the columns, from training cases only.

    Raises:
        CohortError: If the training cases hold nothing that can be read.
    """
    plan: dict[Modality, Any] = {}
    if "image" in config.modalities and any(c.images for c in cases):
        plan["image"] = _plan_volume(cases, config, on_progress)
    if "text" in config.modalities and any(c.note for c in cases):
        plan["text"] = _make_tokenizer(cases, config)
    if "audio" in config.modalities and any(c.audio for c in cases):
        features: Any = getattr(ENCODERS["audio"].get(config.audio_encoder), "features", "mel")
        plan["audio"] = AudioRecipe(features, seconds=config.audio_seconds)
    if "tabular" in config.modalities and config.tabular:
        columns = {name: [c.columns[name] for c in cases] for name in config.tabular}
        plan["tabular"] = plan_table(columns, config.units, config.believable)
    if not any(plan.values()):
        unnamed = ", or name the columns of tabular" if "tabular" in config.modalities and not config.tabular else ""
        msg = f"Expected training cases with {' or '.join(config.modalities)}; none could be read. Check the paths{unnamed}."
        raise CohortError(msg)
    return Preprocessor(**plan)


def refuse_unbelievable(cases: Sequence[Case]) -> tuple[list[Case], list[Failure]]:
    """Cases whose tabular values are numbers within their bounds, and what is wrong with the others."""
    kept: list[Case] = []
    failures: list[Failure] = []
    for case in cases:
        try:
            case.read_values()
            kept.append(case)
        except ValuesError as error:
            failures.append(Failure(case.study_id, error.code, error.message))
    return kept, failures


class CachedSamples(Sequence[Sample]):
    """Samples whose images and recordings lie in a cache folder and are read when asked for.

    Args:
        samples: Where they lie, and the rest of each sample.
    """

    def __init__(self, samples: list[tuple[Prepared, Sample]]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        prepared, sample = self._samples[index]
        return prepared.whole(sample)

    def image_sha256(self, index: int) -> str:
        """Digest of the image a sample was made from, empty without one."""
        return self._samples[index][0].image_sha256()

    def take(self, rows: Sequence[int]) -> CachedSamples:
        """A subset in the given order."""
        return CachedSamples([self._samples[i] for i in rows])


def cache_samples(
    cases: Sequence[Case], preprocessor: Preprocessor, cache: Path, on_progress: OnProgress
) -> tuple[list[int], CachedSamples, list[Failure]]:
    """Read every image and recording once, also those that several cases share.

    Args:
        cases: What to read.
        preprocessor: Recipe.
        cache: Folder in which these cases, prepared like this, have one of their own; what is already in that is not read again.
        on_progress: Told after each case.

    Returns:
        Index into `cases` of each usable one, its samples, and the failures.
    """
    fields = () if preprocessor.tabular is None else preprocessor.tabular.fields
    jobs = prepared_in(cache, [replace(case, fields=fields) for case in cases], preprocessor)
    kept: list[int] = []
    samples: list[tuple[Prepared, Sample]] = []
    failures: list[Failure] = []
    with closing(read_ahead(jobs)) as opened:
        for index, (job, study) in enumerate(opened):
            try:
                if isinstance(study, MedmmError):
                    raise study
                samples.append((job, job.keep(study)))
                kept.append(index)
            except MedmmError as error:
                failures.append(Failure(job.case.study_id, error.code, error.message))
            on_progress("reading studies", index + 1, len(cases))
    return kept, CachedSamples(samples), failures


def _plan_volume(cases: Sequence[Case], config: TrainConfig, on_progress: OnProgress) -> VolumeRecipe | None:
    imaged = [c for c in cases if c.images]
    looked_at = [imaged[i] for i in np.linspace(0, len(imaged) - 1, min(_PLANNED_FROM, len(imaged))).astype(int)]
    found: list[tuple[Grid, Unit, str]] = []
    with closing(read_ahead(looked_at)) as opened:
        for index, (_, study) in enumerate(opened):
            if isinstance(study, Study):  # what cannot be read is reported when it is read for training
                found += [(v.grid, v.unit, v.modality) for v in study.volumes[:1]]
            on_progress("planning", index + 1, len(looked_at))
    if not found:
        return None
    contract: Any = getattr(ENCODERS["image"].get(config.image_encoder), "contract", None)
    recipe = plan_recipe(found, config.voxels) if contract is None else contract.recipe
    return replace(recipe, volumes=min(config.images, max(len(c.images) for c in imaged)))


def _make_tokenizer(cases: Sequence[Case], config: TrainConfig) -> NoteTokenizer:
    notes = [text for case in cases if (text := case.note_text())]
    if config.read_sections is not None and not notes:
        wanted = " or ".join(name or "no heading" for name in config.read_sections)
        msg = f"Expected notes with text under {wanted}; no training note has any. State note_sections, or leave text out."
        raise CohortError(msg)
    if config.text_source is not None:
        backend, _, longest = read_pretrained(config.text_source)
        return NoteTokenizer(backend, min(config.max_tokens, longest), config.read_sections)
    return NoteTokenizer.trained_on(notes, vocabulary=_VOCABULARY, max_tokens=config.max_tokens, sections=config.read_sections)
