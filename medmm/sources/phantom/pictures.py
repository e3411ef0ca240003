"""A synthetic cohort of pictures with short histories, five classes and a known posterior."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medmm.errors import CohortError
from medmm.sources.phantom.design import SPLITS, apportion, refuse_used
from medmm.sources.phantom.history import write_history
from medmm.sources.phantom.lesion import FORMS, draw_lesion
from medmm.sources.phantom.signs import Signs
from medmm.sources.phantom.truth import ARMS
from medmm.table import write_csv
from medmm.types import pattern_name

_SIDE = (48, 512)
_SECOND = 0.3  # of the patients have two pictures, whatever their class


def make_pictures(
    out: str | Path,
    n: int,
    *,
    seed: int = 0,
    law: Signs | None = None,
    side: int = 96,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a cohort of synthetic patients, each with one or two pictures (PNG) and a history.

    Within each split every combination of class, form and course occurs as often as the law says, to the nearest
    whole patient; what is left over falls by chance.

    Args:
        out: Folder to write; must not hold a cohort yet.
        n: Number of patients, at least 20.
        seed: Seed of every random choice.
        law: How classes show; `Signs()` when None.
        side: Pixels along each side of a picture.
        on_progress: Called with (done, n) after each patient.

    Returns:
        Path of `cohort.csv`. Beside it stand `truth.json` and `images/`.

    Raises:
        CohortError: If the folder already holds a cohort, or an argument is out of range.
    """
    out, law = Path(out), law or Signs()
    if n < 20 or not _SIDE[0] <= side <= _SIDE[1]:
        msg = f"Expected n of at least 20 and pictures of {_SIDE[0]} to {_SIDE[1]} pixels a side; got n={n}, side={side}."
        raise CohortError(msg)
    refuse_used(out)
    (out / "images").mkdir(parents=True)
    rows = []
    for index, (split, label, form, course) in enumerate(_design(n, law, np.random.default_rng([seed, 0]))):
        study_id = f"L{seed}P{index:05d}"
        pictures = _draw(np.random.default_rng([seed, 1, index]), out / "images", study_id, form, side)
        note = write_history(np.random.default_rng([seed, 2, index]), course=course)
        rows.append({
            "study_id": study_id, "patient_id": study_id, "image": "|".join(f"images/{p.name}" for p in pictures), "note": note,
            "split": split, "label": law.labels[label], "form": FORMS[form], "course": course, **_posteriors(law, form, course),
        })  # fmt: skip
        if on_progress:
            on_progress(index + 1, n)
    truth = {"n": n, "seed": seed, "sampling": "balanced within split, class, form and course", **law.summary()}
    (out / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    write_csv(out / "cohort.csv", list(rows[0]), rows)
    return out / "cohort.csv"


def _design(n: int, law: Signs, rng: np.random.Generator) -> list[tuple[str, int, int, int]]:
    """(split, class, form, course) of every patient, in random order."""
    sizes = apportion(n, np.array(list(SPLITS.values())), rng)
    design = []
    for split, size in zip(SPLITS, sizes, strict=True):
        cells = apportion(int(size), law.joint.ravel(), rng).reshape(law.joint.shape)
        design += [(split, *map(int, cell)) for cell in np.argwhere(cells) for _ in range(cells[tuple(cell)])]
    return [design[i] for i in rng.permutation(len(design))]


def _draw(rng: np.random.Generator, folder: Path, study_id: str, form: int, side: int) -> list[Path]:
    from PIL import Image

    paths = [folder / f"{study_id}-{view}.png" for view in range(1 + int(rng.random() < _SECOND))]
    for path in paths:
        Image.fromarray(draw_lesion(rng, form=form, side=side).grey).save(path)
    return paths


def _posteriors(law: Signs, form: int, course: int) -> dict[str, Any]:
    """P(class | picture, history), P(class | picture) and P(class | history)."""
    return {
        f"posterior_{pattern_name(arm).replace('+', '_')}__{name}": f"{p:.12g}"
        for arm in ARMS
        for name, p in zip(law.labels, law.posterior(arm)[:, form, course], strict=True)
    }
