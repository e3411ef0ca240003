"""A side of a cohort as pretrained encoders see it, every study opened once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from medmm.errors import CohortError, MedmmError, MissingModalityError
from medmm.pretrained.folder import Pretrained
from medmm.sources.cohort import Case
from medmm.sources.jail import read_ahead
from medmm.study import Note, Study
from medmm.transforms.batch import Sample
from medmm.types import FloatArray, Modality, OnProgress


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Cases that have what was asked for, and their vectors.

    Attributes:
        cases: In the order of the cohort.
        vectors: (n, D) of each modality.
        failures: Cases that could not be read, or lack what was asked for, each with its reason.
    """

    cases: tuple[Case, ...]
    vectors: dict[Modality, FloatArray]
    failures: tuple[tuple[Case, MedmmError], ...]


def embed_cases(
    cases: Sequence[Case], pretrained: Pretrained, modalities: Sequence[Modality], *, common: bool, on_progress: OnProgress
) -> Embedded:
    """Vectors of the cases that have all of these modalities.

    Args:
        cases: What to read.
        pretrained: Encoders and the recipe of their inputs.
        modalities: What to look at.
        common: Unit vectors in the space that images and notes share, else what each encoder says itself.
        on_progress: Told after each case.

    Raises:
        CohortError: If no case has them.
        ModelError: If a common space is asked for and there is none.
    """
    if common:
        _ = pretrained.network.alignment  # refused before anything is read
    encode = pretrained.network.embed if common else pretrained.network.features
    kept: list[Case] = []
    rows: dict[Modality, list[FloatArray]] = {name: [] for name in modalities}
    failures: list[tuple[Case, MedmmError]] = []
    with closing(read_ahead([case.reading(modalities) for case in cases])) as opened:
        for done, (case, (_, study)) in enumerate(zip(cases, opened, strict=True)):
            on_progress("reading studies", done + 1, len(cases))
            try:
                sample = _sample_of(study, pretrained, modalities)
            except MedmmError as error:
                failures.append((case, error))
                continue
            kept.append(case)
            for name in modalities:
                rows[name].append(encode(name, [sample], pretrained.preprocessor)[0])
    if not kept:
        msg = f"Expected studies with {' and '.join(modalities)}; none of {len(cases)} could be read. Check paths and split."
        raise CohortError(msg)
    return Embedded(tuple(kept), {name: np.stack(vectors) for name, vectors in rows.items()}, tuple(failures))


def embed_texts(texts: Sequence[str], pretrained: Pretrained) -> FloatArray:
    """(n, width) unit vectors of sentences in the common space."""
    samples = [pretrained.preprocessor.prepare(Study(note=Note(text)))[0] for text in texts]
    return pretrained.network.embed("text", samples, pretrained.preprocessor)


def _sample_of(study: Study | MedmmError, pretrained: Pretrained, modalities: Sequence[Modality]) -> Sample:
    if isinstance(study, MedmmError):
        raise study
    sample = pretrained.preprocessor.prepare(study)[0]
    if lacking := [name for name in modalities if name not in sample.modalities]:
        msg = f"Expected a study with {' and '.join(modalities)}; it has no {' and no '.join(lacking)}."
        raise MissingModalityError(msg)
    return sample
