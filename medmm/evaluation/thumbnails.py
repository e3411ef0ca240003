"""Middle slices of a cohort's studies as small pictures, decoded where foreign bytes can do no harm."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path

import numpy as np

from medmm.errors import MedmmError
from medmm.geometry import Grid, reorient
from medmm.sources.cohort import read_cohort
from medmm.sources.jail import read_ahead
from medmm.study import Volume

_SIDE = 192
_DARK, _BRIGHT = 2.0, 99.5


def thumbnails(cohort: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """PNG of the middle axial slice of each wanted study; those that cannot be read are left out.

    Args:
        cohort: Table.
        wanted: Study ids.

    Raises:
        CohortError: If the table breaks its contract.
    """
    cases = [case for case in read_cohort(cohort).cases if case.study_id in wanted and case.images]
    found = {}
    for case, study in read_ahead(cases):
        if not isinstance(study, MedmmError) and study.volumes:
            found[case.study_id] = middle_slice(study.volumes[0])
    return found


def middle_slice(volume: Volume) -> bytes:
    """PNG of the middle axial slice, patient's right on the left, in true proportions, darkest to brightest tissue."""
    from PIL import Image

    array, affine = reorient(volume.array, volume.grid.affine)
    x, y, _ = Grid((array.shape[1], array.shape[2], array.shape[3]), affine).spacing
    plane = array[0, ::-1, ::-1, array.shape[3] // 2].T.astype(np.float64)
    low, high = np.percentile(plane, [_DARK, _BRIGHT])
    grey = np.clip((plane - low) / max(high - low, 1e-9), 0, 1) * 255
    width, height = plane.shape[1] * x, plane.shape[0] * y
    scale = _SIDE / max(width, height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    buffer = io.BytesIO()
    Image.fromarray(grey.round().astype(np.uint8)).resize(size, Image.Resampling.BILINEAR).save(buffer, "PNG")
    return buffer.getvalue()
