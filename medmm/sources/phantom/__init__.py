"""A synthetic cohort whose true posterior is known: the yardstick for every model and metric here."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medmm.errors import CohortError
from medmm.sources.phantom.anatomy import Chest, draw_chest
from medmm.sources.phantom.design import SPLITS, apportion, refuse_used
from medmm.sources.phantom.note import write_note
from medmm.sources.phantom.truth import ARMS, Table
from medmm.sources.phantom.voice import AudioFormat, Speaker
from medmm.sources.phantom.write import write_dicom, write_nifti, write_zip
from medmm.types import pattern_name

Format = Literal["dicom", "zip", "nifti"]

LABELS = ("negative", "positive")
_WRITERS: dict[str, Callable[[Chest, Path, str], Path]] = {"dicom": write_dicom, "zip": write_zip, "nifti": write_nifti}
_MATRIX = (48, 512)


def make_phantom(
    out: str | Path,
    n: int,
    *,
    seed: int = 0,
    table: Table | None = None,
    image_format: Format = "dicom",
    matrix: int = 96,
    dictate: AudioFormat | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a cohort of synthetic patients.

    Findings and labels are balanced: within each split the four combinations of findings, and the
    labels within each combination, occur as often as the law says, to the nearest whole patient
    (labels of `train` make up for the others' rounding). Only the luck of a small sample is taken
    out, so that a finite test set sits close to the population limits.

    Args:
        out: Folder to write; must not hold a cohort yet.
        n: Number of patients, at least 20.
        seed: Seed of every random choice; the same seed gives the same bytes.
        table: The law of the label; `Table()` when None.
        image_format: `dicom` (a folder of slices a patient), `zip` of those, or `nifti`.
        matrix: Pixels along each side of a slice.
        dictate: Also have each note spoken, as `wav` or `flac`; needs eSpeak NG.
        on_progress: Called with (done, n) after each patient.

    Returns:
        Path of `cohort.csv`. Beside it stand `truth.json`, `images/`, `masks/` and perhaps `audio/`.

    Raises:
        CohortError: If the folder already holds a cohort, or an argument is out of range.
        DependencyError: If notes are to be spoken and nothing here speaks.
    """
    out, law = Path(out), table or Table()
    if n < 20 or not _MATRIX[0] <= matrix <= _MATRIX[1] or image_format not in _WRITERS:
        msg = (
            f"Expected n of at least 20, a matrix of {_MATRIX[0]} to {_MATRIX[1]} and a format of {', '.join(_WRITERS)}; "
            f"got n={n}, matrix={matrix}, format={image_format}."
        )
        raise CohortError(msg)
    refuse_used(out)
    speaker = Speaker(dictate) if dictate else None
    design = _design(n, law, np.random.default_rng([seed, 0]))
    (out / "images").mkdir(parents=True)
    if speaker:
        (out / "audio").mkdir()
    (out / "masks").mkdir()
    rows, masks = [], {}
    for index, (split, image_finding, text_finding, label) in enumerate(design):
        study_id = f"S{seed}P{index:05d}"  # patients of another cohort are other patients
        chest = draw_chest(np.random.default_rng([seed, 1, index]), mass=bool(image_finding), matrix=matrix)
        note = write_note(np.random.default_rng([seed, 2, index]), finding=bool(text_finding))
        image = _WRITERS[image_format](chest, out / "images", study_id)
        if image_finding:
            mask = write_nifti(Chest(chest.mask.astype(np.int16), chest.grid, chest.mask), out / "masks", study_id)
            masks[study_id] = str(mask.relative_to(out))
        files = {"image": str(image.relative_to(out)), "note": note}
        if speaker:
            spoken = speaker.speak(note, np.random.default_rng([seed, 3, index]), out / "audio", study_id)
            files["audio"] = str(spoken.relative_to(out))
        rows.append(_row(study_id, files, split, (image_finding, text_finding, label), law))
        if on_progress:
            on_progress(index + 1, n)
    _write_truth(out / "truth.json", law, n=n, seed=seed, masks=masks, speaker=speaker)
    return _write_cohort(out / "cohort.csv", rows)


def _design(n: int, law: Table, rng: np.random.Generator) -> list[tuple[str, int, int, int]]:
    """(split, image finding, text finding, label) of every patient, in random order."""
    sizes = apportion(n, np.array(list(SPLITS.values())), rng)
    cells = np.stack([apportion(int(size), law.cells.ravel(), rng).reshape(2, 2) for size in sizes])
    design = []
    for image_finding in (0, 1):
        for text_finding in (0, 1):
            counts = [int(count) for count in cells[:, image_finding, text_finding]]
            positives = _positives(counts, law.positive[image_finding][text_finding], rng)
            for split, count, positive in zip(SPLITS, counts, positives, strict=True):
                design += [(split, image_finding, text_finding, int(i < positive)) for i in range(count)]
    return [design[i] for i in rng.permutation(len(design))]


def _positives(counts: list[int], p: float, rng: np.random.Generator) -> list[int]:
    """Positive patients among `counts` of each split.

    Over all splits as many as the law says, rounded by chance so that no patient's probability is
    off; in the later splits, which measure, to the nearest whole patient; the first takes the rest.
    """
    total = int(sum(counts) * p + rng.random())
    later = [round(count * p) for count in counts[1:]]
    return [min(max(total - sum(later), 0), counts[0]), *later]


def _row(study_id: str, files: dict[str, str], split: str, truth: tuple[int, int, int], law: Table) -> dict[str, Any]:
    image_finding, text_finding, label = truth
    posteriors = {
        "posterior_" + pattern_name(arm).replace("+", "_"): f"{law.posterior(arm)[image_finding, text_finding]:.12g}"
        for arm in ARMS
    }
    return {
        "study_id": study_id,
        "patient_id": study_id,
        **files,
        "split": split,
        "label": LABELS[label],
        "image_finding": image_finding,
        "text_finding": text_finding,
        **posteriors,
    }


def _write_cohort(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _write_truth(path: Path, law: Table, *, n: int, seed: int, masks: dict[str, str], speaker: Speaker | None) -> None:
    truth = {
        "n": n,
        "seed": seed,
        "labels": list(LABELS),
        "sampling": "balanced within split, findings and label",
        **({"speaker": speaker.name} if speaker else {}),
        **law.summary(),
        "masks": masks,
    }
    path.write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
