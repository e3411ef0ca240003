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


def write_pack(volume: Volume, folder: Path) -> dict[str, Any]:
    """Write the viewer's volume and return what it must know to draw it.

    Voxels are ordered slice by slice, rows to Posterior, columns to Left, slices to Superior: drawn
    as stored, an axial slice is in radiological convention.
    """
    array, affine = reorient(volume.array, volume.grid.affine)
    display = _shrunk(array[0, ::-1, ::-1, :])
    spacing = Grid((array.shape[1], array.shape[2], array.shape[3]), affine).spacing
    shrink = [n / m for n, m in zip(array.shape[1:], display.shape, strict=True)]
    content = np.ascontiguousarray(display.transpose(2, 1, 0)).astype("<i2").tobytes()
    (folder / FILE).write_bytes(gzip.compress(content, _GZIP_LEVEL, mtime=0))
    return {
        "shape": list(display.shape),
        "spacing": [s * f for s, f in zip(spacing, shrink, strict=True)],
        "unit": volume.unit,
        "low": int(display.min()),
        "high": int(display.max()),
        "reduced": max(shrink) > 1,
    }


def _shrunk(array: AnyArray) -> AnyArray:
    """(I, J, K) with at most `_MAX_SIDE` columns and rows, by averaging whole blocks."""
    factor = int(np.ceil(max(array.shape[:2]) / _MAX_SIDE))
    if factor == 1:
        return array
    i, j = (n // factor for n in array.shape[:2])
    blocks = array[: i * factor, : j * factor].reshape(i, factor, j, factor, -1)
    mean: AnyArray = np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.int16)
    return mean
