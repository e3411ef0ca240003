"""Answers from pretrained encoders without fine-tuning: by prompts (zero-shot) or from a few labelled studies (few-shot).

Both write a predictions file, which `medmm eval score` measures like anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from scipy.special import softmax

from medmm.errors import CohortError, LeakageError, TaskError
from medmm.evaluation.embedded import Embedded, embed_cases, embed_texts
from medmm.pretrained.folder import Pretrained
from medmm.sources.cohort import Case, Cohort
from medmm.table import write_csv
from medmm.types import FloatArray, Modality, OnProgress
from medmm.yaml_text import read_yaml

Method = Literal["probe", "prototype"]
Sentences = Annotated[tuple[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)], ...], Field(min_length=1)]

_SAME = 1e-6  # largest difference between unit vectors of the same words
_PROTOTYPE_FACTOR = 10.0  # on cosine similarities to prototypes


class _Finding(BaseModel):
    model_config = ConfigDict(extra="forbid")

    present: Sentences
    absent: Sentences


class Prompts(BaseModel):
    """A stored prompt set.

    Attributes:
        name: Of the set.
        classes: Of a binary or multiclass task several sentences for each label.
        findings: Of a multilabel task sentences that say a label is present and that it is absent.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    classes: dict[str, Sentences] = {}
    findings: dict[str, _Finding] = {}

    def check(self, table: Cohort) -> None:
        """Refuse prompts for other labels than the cohort's.

        Raises:
            TaskError: If they differ.
        """
        given = self.findings if table.kind == "multilabel" else self.classes
        if set(given) != set(table.labels):
            part = "findings" if table.kind == "multilabel" else "classes"
            msg = (
                f"Expected prompts under {part} for exactly the labels {', '.join(table.labels)}; got {', '.join(given) or 'none'}."
            )
            raise TaskError(msg)


def read_prompts(path: Path) -> Prompts:
    """Read a prompt set.

    Raises:
        TaskError: If it is no YAML of this form, or a key stands twice.
    """
    stated = read_yaml(path, "a YAML file of prompts")
    try:
        return Prompts.model_validate(stated)
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
        Number of studies without an answer; their rows tell why.

    Raises:
        TaskError: If the prompts are for other labels, or are the same to the text encoder.
        ModelError: If images and notes have no common space.
        LeakageError: If pretraining saw a patient.
    """
    prompts.check(table)
    measured = measured_cases(table, pretrained, split)
    if table.kind == "multilabel":
        findings = [(name, prompts.findings[name]) for name in table.labels]
        asked = [_directions({f"{name} present": f.present, f"{name} absent": f.absent}, pretrained) for name, f in findings]
    else:
        asked = [_directions({name: prompts.classes[name] for name in table.labels}, pretrained)]
    found = embed_cases(measured, pretrained, ("image",), common=True, on_progress=on_progress)
    factor = float(pretrained.network.alignment.factor.detach())
    answers = [softmax(factor * found.vectors["image"] @ directions.T, axis=1) for directions in asked]
    p = np.stack([answer[:, 0] for answer in answers], axis=1) if table.kind == "multilabel" else answers[0]
    _write(out, table, found, p, "image")
    return len(found.failures)


def _directions(sentences: Mapping[str, Sequence[str]], pretrained: Pretrained) -> FloatArray:
    """(n, width) unit vectors, one for what the sentences of each name say."""
    found = np.stack([_unit(embed_texts(each, pretrained).mean(0)) for each in sentences.values()])
    for (one, first), (other, second) in combinations(zip(sentences, found, strict=True), 2):
        if np.abs(first - second).max() < _SAME:
            msg = (
                f"Expected prompts that the text encoder tells apart; those of {one} and {other} are the same to it. Are they the "
                "same sentences, or in words that its tokenizer does not know?"
            )
            raise TaskError(msg)
    return found


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
        Number of studies without an answer; their rows tell why.

    Raises:
        TaskError: If the task is multilabel, or the modality was not pretrained.
        CohortError: If `train` has too few patients of a class, or one that was drawn cannot be read.
        LeakageError: If pretraining saw a patient of the side that is answered, or a shot is one.
    """
    if table.kind == "multilabel" or modality not in pretrained.network.encoders:
        msg = "Expected a binary or multiclass task and a modality that was pretrained; got a multilabel task or another modality."
        raise TaskError(msg)
    few, measured = _draw(table, shots, modality, seed), measured_cases(table, pretrained, split)
    if shared := len({c.patient_id for c in few} & {c.patient_id for c in measured}):
        msg = f"Expected a side without the patients whose labels are shown; {shared} of them stand on it. Answer another --split."
        raise LeakageError(msg)
    known = embed_cases(few, pretrained, (modality,), common=False, on_progress=on_progress)
    if known.failures:
        unread, code = len(known.failures), known.failures[0][1].code
        msg = f"Expected shots that can be read; {unread} of {len(few)} cannot, the first for {code}. Mend or remove them."
        raise CohortError(msg)
    found = embed_cases(measured, pretrained, (modality,), common=False, on_progress=on_progress)
    classes = np.array([int(np.argmax(case.target)) for case in known.cases if case.target is not None])
    answer = _probe if method == "probe" else _prototype
    _write(out, table, found, answer(known.vectors[modality], classes, found.vectors[modality]), modality)
    return len(found.failures)


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


def _write(out: Path, table: Cohort, found: Embedded, p: FloatArray, pattern: str) -> None:
    columns = ["sample_id", "patient_id", "split", "pattern"]
    columns += [f"label__{name}" for name in table.labels] if table.kind == "multilabel" else ["label"]
    columns += [f"p__{name}" for name in table.labels] + ["code", "message"]
    rows = [
        _row(case, table) | {"pattern": pattern} | {f"p__{n}": float(v) for n, v in zip(table.labels, probabilities, strict=True)}
        for case, probabilities in zip(found.cases, p, strict=True)
    ]
    rows += [_row(case, table) | {"code": error.code, "message": error.message} for case, error in found.failures]
    write_csv(out, columns, rows)


def _row(case: Case, table: Cohort) -> dict[str, Any]:
    row: dict[str, Any] = {"sample_id": case.study_id, "patient_id": case.patient_id, "split": case.split}
    if case.target is None:
        return row
    if table.kind == "multilabel":
        known = zip(table.labels, case.target, strict=True)
        return row | {f"label__{name}": "" if np.isnan(truth) else int(truth) for name, truth in known}
    return row | {"label": table.labels[int(np.argmax(case.target))]}
