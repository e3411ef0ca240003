"""Cohort cases to network-ready samples, read once and kept on disk while training lasts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medmm.disk import replace_bytes
from medmm.encoders import ENCODERS
from medmm.encoders.text import read_pretrained
from medmm.errors import CohortError, MedmmError, ValuesError
from medmm.geometry import Grid
from medmm.sources.cohort import Case
from medmm.sources.jail import read_ahead
from medmm.sources.opener import Opener
from medmm.study import Study
from medmm.training.config import TrainConfig
from medmm.transforms.audio import AudioRecipe
from medmm.transforms.batch import Preprocessor, Sample, Tensors
from medmm.transforms.columns import plan_table
from medmm.transforms.text import NoteTokenizer
from medmm.transforms.volume import VolumeRecipe, plan_recipe
from medmm.types import Modality, OnProgress, Unit

_PLANNED_FROM = 48  # studies looked at to choose shape and spacing
_VOCABULARY = 4000
_HEAVY: tuple[Modality, ...] = ("image", "audio")  # too large to hold in memory


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
        samples: The rest of each sample and the file of its images and recording.
    """

    def __init__(self, samples: list[tuple[Path | None, Sample]]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        file, sample = self._samples[index]
        return sample if file is None else replace(sample, inputs={**_load(file), **sample.inputs})

    def image_sha256(self, index: int) -> str:
        """Digest of the image a sample was made from, empty without one."""
        file, _ = self._samples[index]
        digest = None if file is None else file.with_suffix(".sha256")
        return digest.read_text(encoding="ascii") if digest is not None and digest.exists() else ""

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
    folder = cache / _name_of(preprocessor, cases)
    folder.mkdir(parents=True, exist_ok=True)
    fields = () if preprocessor.tabular is None else preprocessor.tabular.fields
    jobs = [_Job(replace(case, fields=fields), folder / f"{_contents_of(case)}.safetensors", preprocessor) for case in cases]
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
    """A case, and the place of its images and recording in the cache."""

    case: Case
    file: Path
    preprocessor: Preprocessor

    def open(self, opener: Opener) -> Study:
        readers, case = self.preprocessor.readers, self.case
        read = case if "image" in readers else replace(case, images=(), series=(), repair=())
        read = read if "audio" in readers else replace(read, audio=None)
        if (read.images or read.audio) and not self.file.exists():
            return read.open(opener)
        return Study(note=case.read_note(), values=case.read_values())


def _name_of(preprocessor: Preprocessor, cases: Sequence[Case]) -> str:
    """Of the folder of these cases prepared like this."""
    prepared = f"{preprocessor.image} {preprocessor.audio} {[c.study_id for c in cases]}"
    return hashlib.sha256(prepared.encode()).hexdigest()[:16]


def _contents_of(case: Case) -> str:
    """Name of what is kept of a case: cases with the same images and recording share it."""
    return hashlib.sha256(repr((case.images, case.series, case.repair, case.audio)).encode()).hexdigest()


def _keep(job: _Job, study: Study | MedmmError, preprocessor: Preprocessor) -> tuple[Path | None, Sample]:
    if isinstance(study, MedmmError):
        raise study
    known = job.file.exists()
    nothing_else = known and not study.modalities & preprocessor.modalities
    sample = Sample({}) if nothing_else else preprocessor.prepare(study)[0]
    heavy = {name: tensors for name, tensors in sample.inputs.items() if name in _HEAVY}
    if heavy and not known:
        if study.volumes and "image" in heavy:
            replace_bytes(job.file.with_suffix(".sha256"), study.volumes[0].sha256().encode())
        _store(job.file, heavy)
    light = {name: tensors for name, tensors in sample.inputs.items() if name not in _HEAVY}
    return job.file if known or heavy else None, replace(sample, inputs=light)


def _store(file: Path, inputs: dict[Modality, Tensors]) -> None:
    from safetensors.torch import save_file

    partial = file.with_suffix(".partial")
    save_file({f"{name}.{i}": t.contiguous() for name, tensors in inputs.items() for i, t in enumerate(tensors)}, partial)
    partial.replace(file)


def _load(file: Path) -> dict[Modality, Tensors]:
    from safetensors.torch import load_file

    stored = load_file(file)
    found: dict[Modality, Tensors] = {}
    for name in _HEAVY:
        if keys := sorted(key for key in stored if key.startswith(f"{name}.")):
            found[name] = tuple(stored[key] for key in keys)
    return found


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
