"""What the viewer in the browser gets: the volume as int16 in display order, compressed, and its geometry."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from medmm.geometry import Grid, reorient
from medmm.study import Volume
from medmm.types import AnyArray

FILE = "pack.gz"
_MAX_SIDE = 256
_GZIP_LEVEL = 1  # most of the gain at a fraction of the time
_GREYS = 4095  # more than a screen shows


def write_pack(volume: Volume, folder: Path) -> dict[str, Any]:
    """Write the viewer's volume and return what it must know to draw it.

    Voxels are ordered slice by slice, rows to Posterior, columns to Left, slices to Superior: drawn
    as stored, an axial slice is in radiological convention.
    """
    array, affine = reorient(volume.array, volume.grid.affine)
    display = array[0, ::-1, ::-1, :]
    i, j = (-(-n // _MAX_SIDE) for n in display.shape[:2])
    packed = _whole(_shrunk(display, i, j), stretch=volume.unit != "HU" and array.dtype != np.int16)
    spacing = Grid((array.shape[1], array.shape[2], array.shape[3]), affine).spacing
    content = np.ascontiguousarray(packed.transpose(2, 1, 0), dtype="<i2").tobytes()
    (folder / FILE).write_bytes(gzip.compress(content, _GZIP_LEVEL, mtime=0))
    return {
        "shape": list(packed.shape),
        "spacing": [s * f for s, f in zip(spacing, (i, j, 1), strict=True)],
        "unit": volume.unit,
        "low": int(packed.min()),
        "high": int(packed.max()),
        "reduced": max(i, j) > 1,
    }


def _shrunk(array: AnyArray, i: int, j: int) -> AnyArray:
    """Means of blocks of i x j voxels of each slice; a last block that is not full repeats its edge."""
    if i == j == 1:
        return array
    missing = [(0, -array.shape[0] % i), (0, -array.shape[1] % j), (0, 0)]
    if any(after for _, after in missing):
        array = np.pad(array, missing, mode="edge")
    columns, rows, slices = array.shape
    mean: AnyArray = array.reshape(columns // i, i, rows // j, j, slices).mean(axis=(1, 3), dtype=np.float32)
    return mean


def _whole(array: AnyArray, *, stretch: bool) -> AnyArray:
    """As int16: rounded, or stretched over `_GREYS` where the numbers mean nothing and may have any range."""
    if array.dtype == np.int16:
        return array
    if stretch:
        low, high = float(array.min()), float(array.max())
        array = (array - low) * (_GREYS / (high - low) if high > low else 0.0)
    bounds = np.iinfo(np.int16)
    whole: AnyArray = np.rint(array).clip(bounds.min, bounds.max).astype(np.int16)
    return whole
