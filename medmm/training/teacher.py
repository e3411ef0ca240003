"""A trained model whose calibrated answers another one learns from (Hinton, Vinyals and Dean 2015)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medmm.errors import CohortError, LeakageError, ModelError, TaskError
from medmm.model_folder import ModelFolder, load_model_folder
from medmm.sources.cohort import Case
from medmm.study import Category
from medmm.table import read_rows
from medmm.training.data import cache_samples
from medmm.transforms.batch import Sample
from medmm.types import FloatArray, Kind, OnProgress, pattern_name

_BATCH = 8


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """An opened model folder that answers for training cases.

    Attributes:
        folder: The model; it is never changed.
        sides: Side of each patient in its training: train, val, test or a fold; empty when it does not say.
    """

    folder: ModelFolder
    sides: dict[str, str]

    @classmethod
    def open(cls, folder: str | Path, device: torch.device) -> Teacher:
        """Open a model folder.

        Raises:
            ModelError: If it is unsound, or nothing in it is calibrated.
        """
        opened = load_model_folder(folder, device)
        if not opened.calibrators:
            msg = "Expected a calibrated teacher; this model has no calibration. Train it with more validation cases."
            raise ModelError(msg)
        return cls(opened, _sides_in(Path(folder) / "split.csv"))

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of its answers."""
        return self.folder.model.config.labels

    def refuse_other_task(self, kind: Kind | None, labels: tuple[str, ...]) -> None:
        """Refuse to teach other labels than its own.

        Raises:
            TaskError: If they differ in kind, name or order.
        """
        config = self.folder.model.config
        if (kind, labels) != (config.kind, config.labels):
            msg = f"Expected the teacher's labels {', '.join(config.labels)} ({config.kind}); the cohort has others."
            raise TaskError(msg)

    @property
    def columns(self) -> tuple[Category, ...]:
        """Tabular columns that it reads."""
        table = self.folder.preprocessor.tabular
        return () if table is None else tuple(Category(field.name, ()) for field in table.fields)

    def refuse_seen(self, cases: Sequence[Case]) -> None:
        """Refuse to teach when its weights saw a patient of val, or it saw one of test at all.

        Args:
            cases: All cases of the student, with their split.

        Raises:
            LeakageError: If so.
        """
        unseen = {"val": ("val", "test", None), "test": ("test", None)}
        known = {c.patient_id for c in cases if c.split in unseen and self.sides.get(c.patient_id) not in unseen[c.split]}
        if known:
            msg = (
                f"Expected a teacher that was not trained on patients of val or test; {len(known)} are known to it. "
                "State the split in the cohort, or use the split_seed and fractions that the teacher was trained with."
            )
            raise LeakageError(msg)

    def answer(self, cases: Sequence[Case], cache: Path, on_progress: OnProgress) -> FloatArray:
        """(n, K) calibrated probabilities from all that each case has; NaN where it cannot read or has no calibration.

        Args:
            cases: Training cases.
            cache: Folder for the inputs it prepares.
            on_progress: Told how far it is.

        Raises:
            CohortError: If it can answer for none.
        """
        index, samples, _ = cache_samples(cases, self.folder.preprocessor, cache, on_progress)
        answers = np.full((len(cases), len(self.labels)), np.nan)
        for row, answer in zip(index, self._answers(samples), strict=True):
            answers[row] = answer
        if np.isnan(answers).any(1).all():
            msg = "Expected cases that the teacher can read; it has a calibrated answer for none. Compare its inputs."
            raise CohortError(msg)
        return answers

    @torch.no_grad()
    def _answers(self, samples: Sequence[Sample]) -> Iterator[FloatArray | float]:
        """(K,) of each sample in turn, NaN without a calibration for what it has."""
        model, calibrators = self.folder.model, self.folder.calibrators
        for batch in self.folder.preprocessor.batches(samples, _BATCH, model.device):
            logits = model.answer(model.encode(batch), batch.present).double().cpu().numpy()
            for row in range(len(batch)):
                calibrator = calibrators.get(pattern_name({name for name, mask in batch.present.items() if mask[row]}))
                yield np.nan if calibrator is None else calibrator(logits[row : row + 1])[0]


def _sides_in(file: Path) -> dict[str, str]:
    """Of each patient, from the record of a training run."""
    return {row["patient_id"]: row["split"] for row in read_rows(file, TaskError)} if file.exists() else {}
