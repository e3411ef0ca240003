"""What gives the answer away, looked for before training: one word or one column that tells the label, cases that stand twice.

No test label is looked at; of the test side only contents are compared.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import rankdata

from medmm.disk import sha256_of
from medmm.metrics.intervals import Interval
from medmm.sources.cohort import Case
from medmm.study import read_number
from medmm.types import AnyArray, FloatArray, Kind

SUSPICIOUS, SURELY = 0.90, 0.75
"""A lone predictor is suspicious with an AUROC of the first or more, when its interval lies above the second."""

_LEAST_PATIENTS = 5  # with and without a word; rarer ones prove nothing and could name a patient
_EDGE = 1e-9  # at an area of 0 or 1 one root of the bounds is the area itself, the other is what is looked for
_LONG_NOTE = 20  # words; shorter notes are alike by chance
_WORD = re.compile(r"[^\W\d_]{2,}")

What = Literal["word", "column", "missing"]
Shared = Literal["notes", "image files", "voxels"]
Alone = tuple[What, str, FloatArray]  # a predictor and its score for each case, NaN where it says nothing


class LeakageWarning(UserWarning):
    """Something gives the answer away."""


@dataclass(frozen=True, slots=True)
class Giveaway:
    """A predictor that tells a label alone.

    Attributes:
        what: A word of notes, a column, or whether something is missing.
        name: Which one; of a category the word after `=`.
        label: What it tells.
        auroc: Of at least `SUSPICIOUS`, in the direction that it tells.
        interval: Of 95 % for all predictors looked at together.
        n: Cases it says something of.
    """

    what: What
    name: str
    label: str
    auroc: float
    interval: Interval
    n: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """Contents that several patients share.

    Attributes:
        what: Notes, files of images, or their voxels, which stay the same however an image is written.
        contents: Different contents that stand under more than one patient.
        cases: Cases that have them.
        across: Cases whose content also stands on another side of the split.
    """

    what: Shared
    contents: int
    cases: int
    across: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found.

    Attributes:
        predictors: Words, columns and missing parts looked at.
        giveaways: Suspicious ones, the strongest first.
        repeated: Contents under several patients.
    """

    predictors: int
    giveaways: tuple[Giveaway, ...]
    repeated: tuple[Repeated, ...]

    @property
    def suspicious(self) -> bool:
        """Whether somebody should look before training."""
        return bool(self.giveaways) or any(found.across for found in self.repeated)

    @property
    def summary(self) -> str:
        """One sentence, which names no word."""
        across = sum(found.across for found in self.repeated)
        return (
            f"Leakage scan: {len(self.giveaways)} of {self.predictors} lone words, columns and missing parts tell a label with an "
            f"AUROC of {SUSPICIOUS:g} or more (95 % interval for all together above {SURELY:g}); {across} cases share an image "
            "or a note with another patient on another side of the split."
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """The summary and every finding, for people who may see the words."""
        told = [
            f"{g.what} {g.name!r} alone tells {g.label}: AUROC {g.auroc:.3f} [{g.interval[0]:.3f}, {g.interval[1]:.3f}], n = {g.n}"
            for g in self.giveaways
        ]
        told += [f"{r.contents} {r.what} stand under several patients: {r.cases} cases, {r.across} of them across the split"
                 for r in self.repeated]  # fmt: skip
        return (self.summary, *told)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, thresholds included."""
        return {"suspicious": self.suspicious, "auroc": SUSPICIOUS, "interval_above": SURELY, **asdict(self)}


def scan_cases(
    cases: Sequence[Case], sides: Sequence[str], kind: Kind, labels: Sequence[str],
    columns: Sequence[str], voxels: Mapping[str, str] | None = None,
) -> Scan:  # fmt: skip
    """Look for what gives the answer away.

    Args:
        cases: Of every side of a split.
        sides: Side or fold of each case.
        kind: Kind of task.
        labels: Names; of a binary task the second is told.
        columns: Those that are read as tabular values.
        voxels: `study_id` to the digest of the image, of cases that were read.
    """
    seen = [case for case, side in zip(cases, sides, strict=True) if side != "test" and case.target is not None]
    asked = list(enumerate(labels))[1 if kind == "binary" else 0 :]
    notes = [case.note_text() for case in seen]
    alone = [*_words(seen, notes), *_missing(seen, notes, columns), *_columns(seen, columns)]
    told = _giveaways(seen, alone, asked) if seen else []
    contents: dict[Shared, list[Hashable]] = {
        "notes": _note_digests(cases), "image files": _file_digests(cases),
        "voxels": [(voxels or {}).get(case.study_id) or None for case in cases],
    }  # fmt: skip
    repeated = [found for what, keys in contents.items() if (found := _repeated(what, keys, cases, sides)) is not None]
    return Scan(len(alone), tuple(sorted(told, key=lambda g: (-g.auroc, g.name))), tuple(repeated))


def warn_of_leakage(scan: Scan) -> None:
    """Warn of what is suspicious, in numbers."""
    if scan.suspicious:
        warnings.warn(scan.summary, LeakageWarning, stacklevel=2)


def area_bounds(area: float, positives: int, negatives: int, level: float) -> Interval:
    """Score-like interval of an AUROC, which is as wide as it should be at 1 too (Newcombe 2006, method 5)."""
    z, mean_size = float(ndtri((1 + level) / 2)), (positives + negatives) / 2 - 1

    def away(theta: float) -> float:
        spread = 1 + mean_size * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (area - theta) ** 2 - z**2 * theta * (1 - theta) * spread / (positives * negatives)

    low = 0.0 if area <= 0 else float(brentq(away, 0, min(area, 1 - _EDGE)))
    return low, 1.0 if area >= 1 else float(brentq(away, max(area, _EDGE), 1))


def _giveaways(cases: Sequence[Case], alone: Sequence[Alone], asked: Sequence[tuple[int, str]]) -> Iterator[Giveaway]:
    target = np.stack([case.target for case in cases if case.target is not None])
    patient = np.unique([case.patient_id for case in cases], return_inverse=True)[1]
    level = 1 - 0.05 / max(1, len(alone) * len(asked))
    for k, label in asked:
        for what, name, score in alone:
            known = ~np.isnan(score) & ~np.isnan(target[:, k])
            area = _area(target[known, k], score[known])
            if area >= SUSPICIOUS:
                sizes = [len(np.unique(patient[known & (target[:, k] == side)])) for side in (1, 0)]
                interval = area_bounds(area, sizes[0], sizes[1], level)
                if interval[0] > SURELY:
                    yield Giveaway(what, name, label, area, interval, int(known.sum()))


def _area(truth: FloatArray, score: FloatArray) -> float:
    """Area under the ROC curve in the direction that tells, 0.5 without both classes."""
    positives, negatives = int(truth.sum()), int(len(truth) - truth.sum())
    if not positives or not negatives:
        return 0.5
    area = (rankdata(score)[truth > 0].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    return float(max(area, 1 - area))


def _words(cases: Sequence[Case], notes: Sequence[str]) -> Iterator[Alone]:
    """Whether each word stands in a note, of the cases that have one."""
    written = np.array([bool(note) for note in notes])
    holders: dict[str, list[int]] = defaultdict(list)
    for row, note in enumerate(notes):
        for word in set(_WORD.findall(note.casefold())):
            holders[word].append(row)
    patients = len({case.patient_id for case, has in zip(cases, written, strict=True) if has})
    for word, rows in sorted(holders.items()):
        if _LEAST_PATIENTS <= len({cases[row].patient_id for row in rows}) <= patients - _LEAST_PATIENTS:
            yield "word", word, _marked(len(cases), rows, written)


def _missing(cases: Sequence[Case], notes: Sequence[str], columns: Sequence[str]) -> Iterator[Alone]:
    """Whether a part of a case is missing, of those that some have and some lack."""
    parts: dict[str, list[bool]] = {
        "note": [not note for note in notes], "image": [not case.images for case in cases],
        "audio": [case.audio is None for case in cases], **{c: [not case.columns.get(c) for case in cases] for c in columns},
    }  # fmt: skip
    for name, gone in parts.items():
        if 0 < sum(gone) < len(gone):
            yield "missing", name, np.array(gone, dtype=float)


def _columns(cases: Sequence[Case], columns: Sequence[str]) -> Iterator[Alone]:
    """The number in a column, or whether it holds each of its words."""
    for name in columns:
        cells = [case.columns.get(name, "") for case in cases]
        filled = np.array([bool(cell) for cell in cells])
        numbers = [read_number(cell) for cell in cells]
        if all(number is not None for number, cell in zip(numbers, cells, strict=True) if cell):
            yield "column", name, np.array(numbers, dtype=float)
        else:
            for word in sorted({cell for cell in cells if cell}):
                yield "column", f"{name}={word}", _marked(len(cells), [i for i, cell in enumerate(cells) if cell == word], filled)


def _marked(count: int, rows: Sequence[int], known: AnyArray) -> FloatArray:
    score = np.where(known, 0.0, np.nan)
    score[list(rows)] = 1.0
    return score


def _repeated(what: Shared, contents: Sequence[Hashable], cases: Sequence[Case], sides: Sequence[str]) -> Repeated | None:
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for row, content in enumerate(contents):
        if content is not None:
            groups[content].append(row)
    shared = [rows for rows in groups.values() if len({cases[row].patient_id for row in rows}) > 1]
    across = sum(len(rows) for rows in shared if len({sides[row] for row in rows}) > 1)
    return Repeated(what, len(shared), sum(map(len, shared)), across) if shared else None


def _note_digests(cases: Sequence[Case]) -> list[Hashable]:
    """Of the words of each note long enough not to be like another by chance."""
    notes = [case.note_text().casefold().split() for case in cases]
    return [hashlib.sha256(" ".join(words).encode()).digest() if len(words) >= _LONG_NOTE else None for words in notes]


def _file_digests(cases: Sequence[Case]) -> list[Hashable]:
    """Content of the files of each case; read only where the sizes of several agree."""
    files = [list(_files(case)) for case in cases]
    sizes = [tuple(sorted(size for size, _ in found)) for found in files]
    alike = Counter(sizes)
    return [_digest(path for _, path in found) if size and alike[size] > 1 else None
            for found, size in zip(files, sizes, strict=True)]  # fmt: skip


def _files(case: Case) -> Iterator[tuple[int, Path]]:
    for image in case.images:
        for path in [image] if image.is_file() else image.rglob("*") if image.is_dir() else []:
            if path.is_file():
                yield path.stat().st_size, path


def _digest(paths: Iterable[Path]) -> str:
    """Of the contents, whatever the names and the order."""
    return hashlib.sha256("".join(sorted(map(sha256_of, paths))).encode()).hexdigest()
