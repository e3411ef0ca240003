"""A study to its rows: an answer from all inputs and from each subset of them, or the reason why there is none."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from medmm.errors import MedmmError
from medmm.evaluation.attack import attacked_answer
from medmm.inference import Predictor
from medmm.prediction import Answer, task_cells
from medmm.sources.cohort import Case
from medmm.sources.opener import Opener
from medmm.store import FULL_ARM, Record
from medmm.study import Study
from medmm.training.prepared import Prepared
from medmm.transforms.perturb import ATTACKS, Perturbation
from medmm.types import pattern_name


@dataclass(frozen=True, slots=True)
class Item:
    """One case of a run.

    Attributes:
        position: Row of the cohort.
        case: What to read.
        attempt: Which try this is, 1 for the first.
        prepared: Where its images and recording are kept, when they are.
    """

    position: int
    case: Case
    attempt: int = 1
    prepared: Prepared | None = None

    def open(self, opener: Opener) -> Study:
        """Read the study, or what is not kept of it."""
        return (self.prepared or self.case).open(opener)


class Answering:
    """Makes the rows of a run.

    Args:
        predictor: The model.
        split: Side of the split that is predicted.
        perturbations: Worse versions of each study to answer too, from all inputs, in arms of their own.
    """

    def __init__(self, predictor: Predictor, split: str, perturbations: Sequence[Perturbation] = ()) -> None:
        self._predictor, self._split, self._perturbations = predictor, split, perturbations
        self._full = pattern_name(predictor.folder.preprocessor.modalities)

    def decided(self) -> dict[str, dict[str, Any]]:
        """How decisions are made in each arm, JSON ready."""
        decided = {self._arm(name): asdict(thresholds) for name, thresholds in self._predictor.folder.thresholds.items()}
        return decided | {p.arm: decided[FULL_ARM] for p in self._perturbations if FULL_ARM in decided}

    def rows(self, item: Item, study: Study | MedmmError) -> list[Record]:
        """All rows of one study; one row with the reason when it could not be read or predicted."""
        base = self._base(item)
        if isinstance(study, MedmmError):
            return [replace(base, code=study.code, message=study.message, stage="read")]
        base = replace(base, image_sha256=_digest(study, item.prepared))
        try:
            return self._answers(study, base, item.prepared)
        except MedmmError as error:
            return [replace(base, code=error.code, message=error.message, stage="predict")]
        except Exception as error:  # one odd study must not end a batch
            return [replace(base, code=MedmmError.code, message=f"Unexpected {type(error).__name__}.", stage="predict")]

    def _base(self, item: Item) -> Record:
        case = item.case
        unknown = (None,) * len(self._predictor.labels)
        target = unknown if case.target is None else tuple(None if np.isnan(t) else float(t) for t in case.target)
        return Record(
            case.study_id, case.patient_id, item.position, FULL_ARM, self._split, target=target, attempts=item.attempt,
            columns=case.columns,
        )  # fmt: skip

    def _answers(self, study: Study, base: Record, prepared: Prepared | None) -> list[Record]:
        start = time.perf_counter()
        sample = prepared.whole(prepared.keep(study)) if prepared else self._predictor.folder.preprocessor.prepare(study)[0]
        arms = self._predictor.arms_of(sample, self._predictor.folder.model.patterns)
        further = task_cells(self._predictor.further(sample))
        base = replace(base, seconds=time.perf_counter() - start)
        rows = [_row(base, self._arm(pattern_name(arm)), *answered) for arm, answered in arms.items()]
        rows = [replace(r, columns=r.columns | further) if r.arm == FULL_ARM else r for r in rows]
        worse = [p for p in self._perturbations if p.modality in sample.modalities]
        return rows + [self._perturbed(study, replace(base, arm=p.arm), p) for p in worse]

    def _perturbed(self, study: Study, base: Record, perturbation: Perturbation) -> Record:
        prepare = self._predictor.folder.preprocessor.prepare
        try:
            if perturbation.name not in ATTACKS:
                return _row(base, base.arm, *self._predictor.answer(prepare(perturbation.apply(study, base.sample_id))[0]))
            sample, target = prepare(study)[0], np.array(base.target, dtype=float)
            return _row(base, base.arm, *attacked_answer(self._predictor, sample, target, perturbation, base.sample_id))
        except MedmmError as error:  # e.g. nothing is left that the model reads
            return replace(base, code=error.code, message=error.message, stage="predict")

    def _arm(self, pattern: str) -> str:
        return FULL_ARM if pattern == self._full else pattern


def _digest(study: Study, prepared: Prepared | None) -> str:
    """Of the image that was read, or that is kept; empty without one."""
    if study.volumes:
        return study.volumes[0].sha256()
    return prepared.image_sha256() if prepared else ""


def _row(base: Record, arm: str, pattern: str, answer: Answer) -> Record:
    return replace(
        base, arm=arm, pattern=pattern, probability=tuple(answer.probabilities.values()), logit=tuple(answer.logits.values()),
        called=answer.called,
    )  # fmt: skip
