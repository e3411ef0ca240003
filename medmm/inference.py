"""From a study to a calibrated answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medmm.device import choose_device
from medmm.errors import BudgetError, NonFiniteError
from medmm.fusion import Present
from medmm.metrics import decide
from medmm.model_folder import ModelFolder, load_model_folder
from medmm.prediction import Answer, Prediction
from medmm.shelf import find_model
from medmm.study import Note, Notice, Study
from medmm.tasks import task_answer
from medmm.transforms.batch import Sample
from medmm.types import FloatArray, Modality, in_words, pattern_name


@contextmanager
def _within_memory() -> Iterator[None]:
    """Say it in our words when the device has too little."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        torch.cuda.empty_cache()
        msg = "Expected the study to fit into the device's memory; the network needs more. Use a device that has more."
        raise BudgetError(msg) from None


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
        full, encoded = sample.modalities, self._encode(sample)
        answers = self._answers(*encoded)
        members = self._members(pattern_name(full), *encoded)
        tasks = self._further(*encoded)
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
            members=members,
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
        logits = self._logits(*self._encode(sample))
        used = {arm: arm & sample.modalities for arm in arms}
        return {
            arm: (pattern_name(pattern), self._answer(pattern_name(pattern), logits[pattern]))
            for arm, pattern in used.items()
            if pattern
        }

    def answers(self, sample: Sample) -> dict[frozenset[Modality], Answer]:
        """Answers from every subset of what a prepared sample has."""
        return self._answers(*self._encode(sample))

    def answer(self, sample: Sample) -> tuple[str, Answer]:
        """The answer from everything a prepared sample has, with the name of its pattern, for evaluation."""
        pattern = pattern_name(sample.modalities)
        return pattern, self._answer(pattern, self._logits(*self._encode(sample))[sample.modalities])

    def further(self, sample: Sample) -> dict[str, dict[str, Any]]:
        """Answers to further tasks from everything the sample has."""
        return self._further(*self._encode(sample)) if self.folder.model.config.tasks else {}

    @torch.no_grad()
    @_within_memory()
    def _encode(self, sample: Sample) -> tuple[Any, Present]:
        """Features of a batch of one, and what it has."""
        batch = self.folder.preprocessor.collate([sample]).to(self.folder.model.device)
        return self.folder.model.encode(batch), batch.present

    @torch.no_grad()
    @_within_memory()
    def _logits(self, features: Any, present: Present) -> dict[frozenset[Modality], FloatArray]:
        """(classes,) logits from every subset of what the sample has."""
        answers = self.folder.model.answer_patterns(features, present)
        return {pattern: _finite(values[0]).numpy() for pattern, (values, complete) in answers.items() if bool(complete.all())}

    def _answers(self, features: Any, present: Present) -> dict[frozenset[Modality], Answer]:
        return {p: self._answer(pattern_name(p), values) for p, values in self._logits(features, present).items()}

    @torch.no_grad()
    def _members(self, pattern: str, features: Any, present: Present) -> tuple[Answer, ...]:
        """What each of several networks answers from everything the sample has."""
        if len(self.folder.model.networks) == 1:
            return ()
        each = self.folder.model.answer_each(features, present)
        return tuple(self._answer(pattern, _finite(logits[0]).numpy()) for logits in each)

    @torch.no_grad()
    def _further(self, features: Any, present: Present) -> dict[str, dict[str, Any]]:
        model = self.folder.model
        outputs = model.further(features, present)
        return {t.name: task_answer(t, _finite(output[0])) for t, output in zip(model.config.tasks, outputs, strict=True)}

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


def _finite(output: torch.Tensor) -> torch.Tensor:
    """An output in double precision on the CPU; refused when it is not a number."""
    if not bool(output.isfinite().all()):
        msg = "Expected finite network outputs; got NaN or infinity. No answer is given."
        raise NonFiniteError(msg)
    return output.double().cpu()


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
