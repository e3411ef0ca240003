"""From a study to a calibrated answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medmm.device import choose_device
from medmm.errors import BudgetError, NonFiniteError
from medmm.metrics import decide
from medmm.model_folder import ModelFolder, load_model_folder
from medmm.prediction import Answer, Prediction
from medmm.shelf import find_model
from medmm.study import Note, Notice, Study
from medmm.tasks import task_answer
from medmm.transforms.batch import Sample
from medmm.types import FloatArray, Modality, in_words, pattern_name


class Predictor:
    """A loaded model that answers for one study at a time.

    Args:
        folder: An opened model folder.
    """

    def __init__(self, folder: ModelFolder) -> None:
        self.folder = folder

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> Predictor:
        """Open a model folder; see `model_folder.load_model_folder` for what is refused."""
        return cls(load_model_folder(folder, choose_device(device)))

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of every output."""
        return self.folder.model.config.labels

    def predict(self, study: Study, on_step: Callable[[str], None] = lambda _: None) -> Prediction:
        """Answer from all modalities the study has, and from each alone.

        Args:
            study: What there is.
            on_step: Called with `preparing` and `network` when these begin.

        Raises:
            InputError: If the study holds nothing the model reads, or is of another kind.
            NonFiniteError: If the network's output is not a number.
            BudgetError: If the device has too little memory.
        """
        start = time.perf_counter()
        on_step("preparing")
        sample, notices = self.folder.preprocessor.prepare(study)
        prepared = time.perf_counter()
        on_step("network")
        answers = self.answers(sample)
        full = sample.modalities
        tasks = self.further(sample)
        seconds = {"preprocess": prepared - start, "network": time.perf_counter() - prepared}
        single = {pattern_name(p): a for p, a in answers.items() if len(p) == 1 and p <= full}
        told = (
            *study.notices,
            *notices,
            *_dictation_notices(study.note, full),
            *self._missing_notices(study, full),
            *_calibration_notices(answers[full]),
        )
        return Prediction(
            pattern=pattern_name(full),
            answer=answers[full],
            single=single,
            study=study.summary(),
            model={"name": self.folder.name, "sha256": self.folder.digest},
            notices=told,
            seconds=seconds,
            text_used=self.text_used(study.note) if "text" in full else None,
            tasks=tasks,
        )

    def text_used(self, note: Note | None) -> str | None:
        """The part of a note that the model reads, None when it reads none."""
        tokenizer = self.folder.preprocessor.text
        return tokenizer.used_text(note.text) if note and tokenizer is not None else None

    def arms(self, study: Study, arms: Iterable[frozenset[Modality]]) -> dict[frozenset[Modality], tuple[str, Answer]]:
        """Answers as if only some modalities had been handed in, for evaluation.

        Args:
            study: What there is.
            arms: Subsets to ask for; one that shares nothing with the study is left out.

        Returns:
            For each arm the pattern actually used and its answer.
        """
        return self.arms_of(self.folder.preprocessor.prepare(study)[0], arms)

    def arms_of(self, sample: Sample, arms: Iterable[frozenset[Modality]]) -> dict[frozenset[Modality], tuple[str, Answer]]:
        """The same for a prepared sample."""
        logits = self._logits([sample])
        used = {arm: arm & sample.modalities for arm in arms}
        return {
            arm: (pattern_name(pattern), self._answer(pattern_name(pattern), logits[pattern][0]))
            for arm, pattern in used.items()
            if pattern
        }

    def answers(self, sample: Sample) -> dict[frozenset[Modality], Answer]:
        """Answers from every subset of what a prepared sample has."""
        return {p: self._answer(pattern_name(p), values[0]) for p, values in self._logits([sample]).items()}

    def answer(self, sample: Sample) -> tuple[str, Answer]:
        """The answer from everything a prepared sample has, with the name of its pattern, for evaluation."""
        pattern = pattern_name(sample.modalities)
        return pattern, self._answer(pattern, self._logits([sample])[sample.modalities][0])

    @torch.no_grad()
    def _logits(self, samples: list) -> dict[frozenset[Modality], FloatArray]:  # type: ignore[type-arg]
        try:
            model = self.folder.model
            batch = self.folder.preprocessor.collate(samples).to(model.device)
            answers = model.answer_patterns(model.encode(batch), batch.present)
        except (MemoryError, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
            msg = "Expected the study to fit into the device's memory; the network needs more. Use a device that has more."
            raise BudgetError(msg) from None
        found = {p: values.double().cpu().numpy() for p, (values, complete) in answers.items() if bool(complete.all())}
        if not all(np.isfinite(v).all() for v in found.values()):
            raise _not_finite()
        return found

    @torch.no_grad()
    def further(self, sample: Sample) -> dict[str, dict[str, Any]]:
        """Answers to further tasks from everything the sample has."""
        model = self.folder.model
        if not model.config.tasks:
            return {}
        batch = self.folder.preprocessor.collate([sample]).to(model.device)
        outputs = model.further(model.encode(batch), batch.present)
        if not all(bool(output.isfinite().all()) for output in outputs):
            raise _not_finite()
        return {t.name: task_answer(t, output[0].double().cpu()) for t, output in zip(model.config.tasks, outputs, strict=True)}

    def _answer(self, pattern: str, logits: FloatArray) -> Answer:
        kind, calibrator = self.folder.model.config.kind, self.folder.calibrators.get(pattern)
        raw = logits[None]
        probability = calibrator(raw) if calibrator else _uncalibrated(kind, raw)
        thresholds = self.folder.thresholds.get(pattern)
        values = None if thresholds is None or thresholds.values is None else np.asarray(thresholds.values)
        called = decide(kind, probability, values)[0]
        return Answer(
            probabilities={n: float(v) for n, v in zip(self.labels, probability[0], strict=True)},
            logits={n: float(v) for n, v in zip(self.labels, logits, strict=True)},
            called=tuple(n for n, c in zip(self.labels, called, strict=True) if c),
            calibrated=calibrator is not None,
        )

    def _missing_notices(self, study: Study, used: frozenset[Modality]) -> list[Notice]:
        absent = sorted(self.folder.preprocessor.modalities - used)
        notices = [
            Notice(f"W_NO_{name.upper()}", f"No {in_words(name)} given; the answer rests on the rest alone.") for name in absent
        ]
        unread = sorted(study.modalities - self.folder.preprocessor.modalities)
        return notices + [Notice("W_UNREAD", f"This model does not read {in_words(name)}; it was not used.") for name in unread]


def _not_finite() -> NonFiniteError:
    msg = "Expected finite network outputs; got NaN or infinity. No answer is given."
    return NonFiniteError(msg)


def _uncalibrated(kind: str, logits: FloatArray) -> FloatArray:
    from scipy.special import expit, softmax

    values: FloatArray = expit(logits) if kind == "multilabel" else softmax(logits, axis=1)
    return values


def _dictation_notices(note: Note | None, used: frozenset[Modality]) -> list[Notice]:
    if note is None or note.confidence == 1 or "text" not in used:
        return []
    message = f"The note was written down from speech by a machine that was {note.confidence:.0%} sure of it. Read it over."
    return [Notice("W_DICTATED", message)]


def _calibration_notices(answer: Answer) -> list[Notice]:
    if answer.calibrated:
        return []
    message = "There is no calibration for this combination of inputs: the numbers are scores, not probabilities."
    return [Notice("W_UNCALIBRATED", message)]


def load_model(name: str | Path | None = None, device: str = "auto") -> Predictor:
    """Load a shipped model by name, or any model folder by path.

    Args:
        name: Name or path; the default model when None.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        ModelError: If there is no such model, or its folder is incomplete, altered or unsound.
    """
    return Predictor.load(find_model(name), device)
