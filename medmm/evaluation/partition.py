"""Proof that fitting, tuning and scoring were done on different patients and different images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from medmm.errors import LeakageError, PredictionsError
from medmm.results import Overlap, Partition
from medmm.store import FULL_ARM, Record
from medmm.table import read_rows

FILE = "partition.csv"
"""Beside the store of a run: sample_id, patient_id, split and image_sha256 of what the model was fitted and tuned on."""


@dataclass(frozen=True, slots=True)
class Member:
    """One sample of one side of a split; `image_sha256` is that of the decoded image, empty when not known."""

    sample_id: str
    patient_id: str
    split: str
    image_sha256: str = ""


def read_members(folder: Path) -> tuple[Member, ...]:
    """What lies in the partition file of a run folder; nothing without one.

    Raises:
        PredictionsError: If it breaks its form.
    """
    if not (folder / FILE).is_file():
        return ()
    rows = read_rows(folder / FILE, PredictionsError)
    if not {"sample_id", "patient_id", "split"} <= set(rows[0]):
        msg = f"Expected the columns sample_id, patient_id and split in {FILE}; one is missing."
        raise PredictionsError(msg)
    return tuple(Member(r["sample_id"], r["patient_id"], r["split"], r.get("image_sha256", "")) for r in rows)


def members_of(records: Iterable[Record], unnamed: str) -> list[Member]:
    """The samples predicted; `unnamed` is the side of rows that state none."""
    return [Member(r.sample_id, r.patient_id, r.split or unnamed, r.image_sha256) for r in records if r.arm == FULL_ARM]


def prove_partition(members: Iterable[Member]) -> Partition | None:
    """Count what every two sides have in common; None when there is only one side, and so nothing to prove.

    Raises:
        LeakageError: If two sides share a patient or an image.
    """
    sides: dict[str, list[Member]] = {}
    for member in sorted(set(members), key=lambda m: (m.split, m.sample_id, m.patient_id, m.image_sha256)):
        sides.setdefault(member.split, []).append(member)
    if len(sides) < 2:
        return None
    digests = all(any(m.image_sha256 for m in side) for side in sides.values())
    overlaps = tuple(_overlap(a, b, sides[a], sides[b]) for a, b in combinations(sides, 2))
    if leaking := [o for o in overlaps if o.patients or o.images]:
        found = "; ".join(f"{o.first} and {o.second} share {o.patients} patients and {o.images or 0} images" for o in leaking)
        msg = f"Expected every two sides of the split to share nothing; {found}. Divide by patient and remove copies of images."
        raise LeakageError(msg)
    return Partition(
        samples={name: len({m.sample_id for m in side}) for name, side in sides.items()},
        patients={name: len({m.patient_id for m in side}) for name, side in sides.items()},
        overlaps=overlaps,
        level="patient and image" if digests else "patient",
    )


def _overlap(first: str, second: str, a: list[Member], b: list[Member]) -> Overlap:
    patients = {m.patient_id for m in a} & {m.patient_id for m in b}
    images_a, images_b = ({m.image_sha256 for m in side if m.image_sha256} for side in (a, b))
    images = len(images_a & images_b) if images_a and images_b else None
    return Overlap(first=first, second=second, patients=len(patients), images=images)
