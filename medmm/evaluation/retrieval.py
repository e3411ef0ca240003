"""Cross-modal retrieval: does an image find its own note among all, and a note its image?"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from medmm.errors import CohortError, MissingModalityError
from medmm.evaluation.embedded import embed_cases
from medmm.evaluation.transfer import measured_cases
from medmm.metrics.intervals import patient_weights, percentile_interval
from medmm.metrics.retrieval import hits_at_k
from medmm.prediction import DISCLAIMER
from medmm.pretrained.folder import Pretrained
from medmm.sources.cohort import Cohort
from medmm.types import FloatArray, IntArray, OnProgress

Direction = Literal["image_to_text", "text_to_image"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Recall(_Strict):
    """Share of queries that find their own among the first k.

    Attributes:
        direction: What asks for what.
        k: How many are looked at.
        value: Over all queries.
        low, high: Percentile interval of 95 % from resampled patients; the gallery stays. None when undefined.
        chance: What random order reaches, k / n.
    """

    direction: Direction
    k: int
    value: float
    low: float | None
    high: float | None
    chance: float


class Retrieval(_Strict):
    """What retrieval came to.

    Attributes:
        model: SHA-256 of the pretrained folder.
        cohort: SHA-256 of the table.
        split: Side that was searched.
        n: Pairs, each a query and part of the gallery.
        patients: Whose they are.
        failed: Studies that could not be read.
        recall: One entry a direction and k.
        median_rank: By direction; half of n + 1 by chance.
    """

    model: str
    cohort: str
    split: str
    n: int
    patients: int
    failed: int
    recall: tuple[Recall, ...]
    median_rank: dict[Direction, float]
    note: str = DISCLAIMER


def measure_retrieval(
    table: Cohort, pretrained: Pretrained, *, ks: tuple[int, ...] = (1, 5, 10), split: str = "test", replicates: int = 2000,
    seed: int = 0, on_progress: OnProgress = lambda *_: None,
) -> Retrieval:  # fmt: skip
    """Recall@k in both directions over the studies of a side that have image and note.

    Args:
        table: Cohort.
        pretrained: Encoders with a common space.
        ks: How many are looked at; those above the number of pairs are left out.
        split: Which side is searched; all when no case has a split.
        replicates: Draws of patients.
        seed: Of the draws.
        on_progress: Told after each study.

    Raises:
        CohortError: If there are fewer than two pairs.
        ModelError: If images and notes have no common space.
        LeakageError: If pretraining saw a patient.
    """
    cases = measured_cases(table, pretrained, split)
    found = embed_cases(cases, pretrained, ("image", "text"), common=True, on_progress=on_progress)
    n, unread = len(found.cases), sum(not isinstance(error, MissingModalityError) for _, error in found.failures)
    if n < 2:
        msg = "Expected at least two studies with image and note to search among; got one."
        raise CohortError(msg)
    similarity = found.vectors["image"] @ found.vectors["text"].T
    patient = np.unique([case.patient_id for case in found.cases], return_inverse=True)[1]
    both: dict[Direction, FloatArray] = {"image_to_text": similarity, "text_to_image": similarity.T}
    recall = [_recall(name, k, matrix, patient, replicates, seed) for name, matrix in both.items() for k in ks if k <= n]
    return Retrieval(
        model=pretrained.digest, cohort=table.digest, split=split, n=n, patients=int(patient.max()) + 1, failed=unread,
        recall=tuple(recall), median_rank={name: float(np.median(_ranks(matrix))) for name, matrix in both.items()},
    )  # fmt: skip


def _recall(direction: Direction, k: int, similarity: FloatArray, patient: IntArray, replicates: int, seed: int) -> Recall:
    found = hits_at_k(similarity, np.arange(len(similarity)), k)
    drawn = np.concatenate([found @ weights / weights.sum(0) for weights in patient_weights(patient, replicates, seed)])
    low, high = percentile_interval(drawn) or (None, None)
    return Recall(direction=direction, k=k, value=float(found.mean()), low=low, high=high, chance=k / len(found))


def _ranks(similarity: FloatArray) -> FloatArray:
    """(n,) place of each query's own among all, from 1; the middle place among equals."""
    own = np.diag(similarity)[:, None]
    place: FloatArray = (similarity > own).sum(1) + ((similarity == own).sum(1) + 1) / 2
    return place
