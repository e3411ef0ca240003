"""Answers from pretrained encoders without fine-tuning: by prompts (zero-shot) or from a few labelled studies (few-shot).

Both write a predictions file, which `medmm eval score` measures like anybody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.special import expit, softmax

from medmm.errors import CohortError, LeakageError, TaskError
from medmm.evaluation.embedded import embed_cases, embed_texts
from medmm.pretrained.folder import Pretrained
from medmm.sources.cohort import Case, Cohort
from medmm.table import write_csv
from medmm.types import FloatArray, Modality, OnProgress

Method = Literal["probe", "prototype"]

_PROTOTYPE_FACTOR = 10.0  # on cosine similarities to prototypes


class _Finding(BaseModel):
    model_config = ConfigDict(extra="forbid")

    present: tuple[str, ...] = Field(min_length=1)
    absent: tuple[str, ...] = Field(min_length=1)


class Prompts(BaseModel):
    """A stored prompt set.

    Attributes:
        name: Of the set.
        classes: Of a binary or multiclass task several sentences for each label.
        findings: Of a multilabel task sentences that say a label is present and that it is absent.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    classes: dict[str, tuple[str, ...]] = {}
    findings: dict[str, _Finding] = {}

    def check(self, table: Cohort) -> None:
        """Refuse prompts for other labels than the cohort's.

        Raises:
            TaskError: If they differ.
        """
        given = self.findings if table.kind == "multilabel" else self.classes
        if set(given) != set(table.labels) or not all(given.values()):
            part = "findings" if table.kind == "multilabel" else "classes"
            msg = (
                f"Expected prompts under {part} for exactly the labels {', '.join(table.labels)}; got {', '.join(given) or 'none'}."
            )
            raise TaskError(msg)


def read_prompts(path: Path) -> Prompts:
    """Read a prompt set.

    Raises:
        TaskError: If it is no YAML of this form.
    """
    try:
        return Prompts.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        msg = "Expected a readable YAML file of prompts; it is missing or damaged."
        raise TaskError(msg) from None
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        msg = f"Expected prompts with name and classes or findings; these entries do not fit: {where}."
        raise TaskError(msg) from None


def zero_shot(
    table: Cohort,
    prompts: Prompts,
    pretrained: Pretrained,
    out: Path,
    *,
    split: str = "test",
    on_progress: OnProgress = lambda *_: None,
) -> int:
    """Answer from the image and prompts alone (Radford et al. 2021), prompts of a class averaged as unit vectors.

    Args:
        table: Cohort; its labels are copied into the predictions and used for nothing else.
        prompts: For its labels.
        pretrained: Encoders with a common space.
        out: Predictions file to write; its probabilities are not calibrated.
        split: Which side is answered; all when no case has a split.
        on_progress: Told after each study.

    Returns:
        Number of studies that could not be read.

    Raises:
        TaskError: If the prompts are for other labels.
        ModelError: If images and notes have no common space.
        LeakageError: If pretraining saw a patient.
    """
    prompts.check(table)
    measured = measured_cases(table, pretrained, split)
    found = embed_cases(measured, pretrained, ("image",), common=True, on_progress=on_progress)
    factor, images = float(pretrained.network.alignment.factor.detach()), found.vectors["image"]

    def similarity(texts: Sequence[str]) -> FloatArray:
        return factor * images @ _unit(embed_texts(texts, pretrained).mean(0))

    if table.kind == "multilabel":
        findings = [prompts.findings[name] for name in table.labels]
        p = expit(np.stack([similarity(f.present) - similarity(f.absent) for f in findings], axis=1))
    else:
        p = softmax(np.stack([similarity(prompts.classes[name]) for name in table.labels], axis=1), axis=1)
    _write(out, table, found.cases, p, "image")
    return found.failed


def few_shot(
    table: Cohort, pretrained: Pretrained, out: Path, *, shots: int, method: Method = "probe", modality: Modality = "image",
    seed: int = 0, split: str = "test", on_progress: OnProgress = lambda *_: None,
) -> int:  # fmt: skip
    """Answer from a few labelled studies of `train` and what a frozen encoder says of them.

    `probe` is logistic regression on standardised features; `prototype` compares with the mean unit vector of each
    class (Snell et al. 2017).

    Args:
        table: Cohort of a binary or multiclass task.
        pretrained: Encoders.
        out: Predictions file to write; its probabilities are not calibrated.
        shots: Studies of each class, of different patients, drawn from `train`.
        method: How they are used.
        modality: Which encoder is asked.
        seed: Of the draw.
        split: Which side is answered.
        on_progress: Told after each study.

    Returns:
        Number of studies that could not be read.

    Raises:
        TaskError: If the task is multilabel, or the modality was not pretrained.
        CohortError: If `train` has too few patients of a class.
        LeakageError: If pretraining saw a patient of the side that is answered.
    """
    if table.kind == "multilabel" or modality not in pretrained.network.encoders:
        msg = "Expected a binary or multiclass task and a modality that was pretrained; got a multilabel task or another modality."
        raise TaskError(msg)
    few = _draw(table, shots, modality, seed)
    known = embed_cases(few, pretrained, (modality,), common=False, on_progress=on_progress)
    found = embed_cases(measured_cases(table, pretrained, split), pretrained, (modality,), common=False, on_progress=on_progress)
    classes = np.array([int(np.argmax(case.target)) for case in known.cases if case.target is not None])
    if len(np.unique(classes)) < len(table.labels):
        msg = "Expected readable shots of every class; none of one class could be read. Give more --shots."
        raise CohortError(msg)
    answer = _probe if method == "probe" else _prototype
    _write(out, table, found.cases, answer(known.vectors[modality], classes, found.vectors[modality]), modality)
    return known.failed + found.failed


def _probe(known: FloatArray, classes: Any, asked: FloatArray) -> FloatArray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(known, classes)
    p: FloatArray = fitted.predict_proba(asked)
    return p


def _prototype(known: FloatArray, classes: Any, asked: FloatArray) -> FloatArray:
    prototypes = np.stack([_unit(_unit(known[classes == c]).mean(0)) for c in np.unique(classes)])
    p: FloatArray = softmax(_PROTOTYPE_FACTOR * _unit(asked) @ prototypes.T, axis=1)
    return p


def _draw(table: Cohort, shots: int, modality: Modality, seed: int) -> list[Case]:
    """`shots` cases of each class of `train`, of different patients."""
    rng = np.random.default_rng(seed)
    drawn: dict[str, Case] = {}
    train = [c for c in table.with_split("train") if c.target is not None and (c.images if modality == "image" else c.note)]
    for index, label in enumerate(table.labels):
        members = {c.patient_id: c for c in train if np.argmax(c.target) == index and c.patient_id not in drawn}  # type: ignore[arg-type]
        if len(members) < shots:
            msg = f"Expected {shots} training patients of class {label} with {modality}; there are {len(members)}. Lower --shots."
            raise CohortError(msg)
        chosen = rng.permutation(sorted(members))[:shots]
        drawn |= {patient: members[patient] for patient in chosen}
    return list(drawn.values())


def measured_cases(table: Cohort, pretrained: Pretrained, split: str) -> list[Case]:
    """Cases of a side, or all when no side is stated.

    Raises:
        LeakageError: If pretraining saw a patient.
    """
    cases = [c for c in table.cases if c.split in (split, None)]
    if seen := len({c.patient_id for c in cases} & pretrained.patients):
        msg = f"Expected patients that pretraining did not see; it saw {seen}. State the split that it was made with."
        raise LeakageError(msg)
    return cases


def _unit(vectors: FloatArray) -> FloatArray:
    length: FloatArray = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, np.finfo(float).tiny)


def _write(out: Path, table: Cohort, cases: Sequence[Case], p: FloatArray, pattern: str) -> None:
    multilabel = table.kind == "multilabel"
    columns = ["sample_id", "patient_id", "split", "pattern"]
    columns += [f"label__{name}" for name in table.labels] if multilabel else ["label"]
    columns += [f"p__{name}" for name in table.labels]
    rows = []
    for case, probabilities in zip(cases, p, strict=True):
        row: dict[str, Any] = {"sample_id": case.study_id, "patient_id": case.patient_id, "split": case.split, "pattern": pattern}
        if case.target is not None and multilabel:
            row |= {f"label__{n}": "" if np.isnan(t) else int(t) for n, t in zip(table.labels, case.target, strict=True)}
        elif case.target is not None:
            row["label"] = table.labels[int(np.argmax(case.target))]
        rows.append(row | {f"p__{n}": float(v) for n, v in zip(table.labels, probabilities, strict=True)})
    write_csv(out, columns, rows)
