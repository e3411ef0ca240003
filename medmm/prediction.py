"""What a model says about one study: the sentence that crosses from the model half to everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medmm.study import Notice


@dataclass(frozen=True, slots=True)
class Answer:
    """Class probabilities from one subset of modalities.

    Attributes:
        probabilities: Class name to probability.
        logits: Class name to raw network output, before calibration.
        called: Class names decided for, by the stored thresholds.
        calibrated: Whether a calibration for this subset was applied.
    """

    probabilities: dict[str, float]
    logits: dict[str, float]
    called: tuple[str, ...]
    calibrated: bool


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one study.

    Attributes:
        pattern: Modalities used, e.g. `image+text`.
        answer: The answer from all of them.
        single: What each modality present says alone.
        study: Geometry and provenance, without identifiers.
        model: Name and digest of the model.
        notices: What the reader should know.
        seconds: Time of each step.
        text_used: The part of the note that the model read, None when it read none.
        tasks: Answers to further tasks by name: probabilities, or a value, and whether a calibration was applied.
        members: What each network says by itself, in the order of training, where the model is several; empty where it is one.
            Each one's own logits go through the calibrator and thresholds of `answer`, which were fitted on the mean of all. The
            raw probabilities of `answer` are the mean of theirs; its calibrated ones are not.
    """

    pattern: str
    answer: Answer
    single: dict[str, Answer]
    study: dict[str, Any]
    model: dict[str, str]
    notices: tuple[Notice, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    text_used: str | None = None
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    members: tuple[Answer, ...] = ()

    def to_dict(self, *, with_text: bool = False) -> dict[str, Any]:
        """The JSON document of `medmm predict --json`.

        Args:
            with_text: Whether it carries the text that was read; without, only how much of the note that was.
        """
        return {
            "labels": list(self.answer.probabilities),
            "probabilities": self.answer.probabilities,
            "called": list(self.answer.called),
            "calibrated": self.answer.calibrated,
            "modalities": self.pattern.split("+"),
            "by_modality": {name: answer.probabilities for name, answer in self.single.items()},
            **({"by_member": [answer.probabilities for answer in self.members]} if self.members else {}),
            "tasks": self.tasks,
            "geometry": self.study["geometry"],
            "series": {key: self.study[key] for key in ("source", "series", "rule", "left_out", "repairs")},
            "note": self._note(with_text),
            "model": self.model,
            "warnings": [{"code": n.code, "message": n.message} for n in self.notices],
            "seconds": {step: round(value, 3) for step, value in self.seconds.items()},
            "disclaimer": DISCLAIMER,
        }

    def _note(self, with_text: bool) -> dict[str, Any] | None:
        """What the note held and how much of it was read."""
        if self.study["note"] is None:
            return None
        cut = any(n.code in ("W_NOTE_CUT", "W_NOTE_LONG") for n in self.notices)
        read = {"characters_used": len(self.text_used or ""), "cut": cut}
        return {**self.study["note"], **read, **({"text_used": self.text_used} if with_text else {})}


def task_cells(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Answers to further tasks as cells of a table: `task__<name>__<label>` probabilities, or `task__<name>` a value."""
    cells: dict[str, str] = {}
    for name, said in tasks.items():
        cells |= {f"task__{name}": repr(said["value"])} if "value" in said else {}
        cells |= {f"task__{name}__{label}": repr(p) for label, p in said.get("probabilities", {}).items()}
    return cells


DISCLAIMER = "Research use only. Not a medical device; not for diagnosis or treatment."
