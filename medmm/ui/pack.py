"""What the viewer in the browser gets: the volume as int16 in display order, at up to three resolutions, in chunks.

Coarse comes first so that something is seen at once, then what fits a browser, then single slices as they
were stored. Chunks lie uncompressed in the study's folder, as compressing all takes longer than anybody waits;
the one that is asked for is compressed then.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medmm.geometry import Grid, lps_to_ras, reorient
from medmm.study import Volume
from medmm.types import AnyArray, FloatArray

FOLDER = "pack"
_FIT_SIDE, _COARSE_SIDE, _COARSE_SLICES = 256, 128, 160
_FIT_BYTES = 80 << 20  # with room beside it for full slices in the 96 MB that the viewer allows itself on a phone
_SEEN_AT_ONCE = 4 << 20  # bytes below which nothing coarser comes first
_CHUNK_BYTES = 1 << 20
_GZIP_LEVEL = 1  # most of the gain at a fraction of the time
_GREYS = 4095  # more than a screen shows

Three = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Level:
    """One resolution: each voxel the mean of a block of `factors` (columns, rows, slices) voxels; a chunk has `depth` slices."""

    factors: Three
    shape: Three
    depth: int

    @classmethod
    def of(cls, shape: Three, factors: Three) -> _Level:
        """The level of these factors of a volume, in chunks of about `_CHUNK_BYTES`."""
        i, j, k = (-(-n // f) for n, f in zip(shape, factors, strict=True))
        return cls(factors, (i, j, k), min(k, max(1, _CHUNK_BYTES // (2 * i * j))))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"factors": list(self.factors), "shape": list(self.shape), "depth": self.depth}

    @property
    def bytes(self) -> int:
        return 2 * self.shape[0] * self.shape[1] * self.shape[2]


def write_pack(volume: Volume, folder: Path) -> dict[str, Any]:
    """Write the viewer's volume below `folder` and return what it must know to draw it.

    Voxels are ordered slice by slice, rows to Posterior, columns to Left, slices to Superior: drawn
    as stored, an axial slice is in radiological convention.

    Returns:
        `shape` and `spacing` (mm) of the volume as it was read, `affine` from (column, row, slice) to DICOM's
        patient space (LPS+, mm), `unit`, the `window` that the file suggests, the lowest and highest value as sent, `levels`
        from coarse to full, and which of them is to be held `whole`.
    """
    array, affine = reorient(volume.array, volume.grid.affine)
    columns, rows, slices = array.shape[1:]
    display = array[0, ::-1, ::-1, :].transpose(2, 1, 0)
    to_display = np.diag([-1.0, -1.0, 1.0, 1.0])
    to_display[:2, 3] = columns - 1, rows - 1
    fit, levels = _levels((columns, rows, slices))
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    (folder / FOLDER).mkdir()
    fitting = np.empty(fit.shape[::-1], "<i2")
    stretched = volume.unit != "HU" and display.dtype != np.int16
    convert = _Whole(display, stretch=stretched)
    full = levels.index(fit) + 1
    for index, slab in enumerate(_slabs(display, fit.factors[2] * fit.depth)):
        fitting[index * fit.depth : (index + 1) * fit.depth] = convert(_pooled(slab, fit.factors))
        if full < len(levels):
            _write(folder, full, convert(slab), index * fit.factors[2] * fit.depth, 1)
    _write(folder, full - 1, fitting, 0, fit.depth)
    if full == 2:
        extra = tuple(c // f for c, f in zip(levels[0].factors, fit.factors, strict=True))
        coarse = np.rint(_pooled(fitting, extra)).astype("<i2")
        _write(folder, 0, coarse, 0, levels[0].depth)
    return {
        "shape": [columns, rows, slices],
        "spacing": list(Grid((columns, rows, slices), affine).spacing),
        "affine": (lps_to_ras(affine) @ to_display).tolist(),
        "unit": volume.unit,
        "window": list(volume.window) if volume.window and not stretched else None,
        "low": int(fitting.min()),
        "high": int(fitting.max()),
        "levels": [level.to_dict() for level in levels],
        "whole": full - 1,
    }


def read_chunk(folder: Path, level: int, chunk: int) -> bytes | None:
    """A chunk that `write_pack` wrote, as a gzip stream of little-endian int16 (slices, rows, columns); None without it."""
    try:
        content = (folder / FOLDER / f"{level}-{chunk}").read_bytes()
    except OSError:
        return None
    return gzip.compress(content, _GZIP_LEVEL, mtime=0)


def write_overlay(
    name: str, values: AnyArray, affine: FloatArray, folder: Path, pack: dict[str, Any], labels: Sequence[str] = ()
) -> None:
    """Lay something over the volume that `write_pack` wrote, on a grid of its own.

    Args:
        name: What it is, in words.
        values: (I, J, K) uint8; 0 is see-through.
        affine: (4, 4) from its voxel index to RAS+ millimetres.
        folder: As for `write_pack`.
        pack: What `write_pack` returned; learns of the overlay.
        labels: What the values 1, 2, ... are; when empty the values are a map from low to high.
    """
    overlays = pack.setdefault("overlays", [])
    number = len(pack["levels"]) + len(overlays)  # overlays lie behind the levels, each as one chunk
    (folder / FOLDER / f"{number}-0").write_bytes(np.ascontiguousarray(values.transpose(2, 1, 0), dtype=np.uint8).tobytes())
    numbered = {str(n): text for n, text in enumerate(labels, 1)}
    overlays.append({"name": name, "shape": list(values.shape), "affine": lps_to_ras(affine).tolist(), "labels": numbered or None})


def _levels(shape: Three) -> tuple[_Level, list[_Level]]:
    """The level that a browser holds whole, and all of them from coarse to full."""
    i, j = (-(-n // _FIT_SIDE) for n in shape[:2])
    fit = _Level.of(shape, (i, j, 1))
    if fit.bytes > _FIT_BYTES:
        fit = _Level.of(shape, (i, j, -(-fit.bytes // _FIT_BYTES)))
    levels = [fit]
    if fit.bytes > _SEEN_AT_ONCE:
        sides = (_COARSE_SIDE, _COARSE_SIDE, _COARSE_SLICES)
        a, b, c = (f * -(-n // side) for f, n, side in zip(fit.factors, fit.shape, sides, strict=True))
        levels.insert(0, _Level.of(shape, (a, b, c)))
    if fit.factors != (1, 1, 1):
        levels.append(_Level((1, 1, 1), shape, depth=1))
    return fit, levels


def _slabs(display: AnyArray, depth: int) -> Iterator[AnyArray]:
    for first in range(0, display.shape[0], depth):
        yield np.ascontiguousarray(display[first : first + depth])


def _write(folder: Path, level: int, voxels: AnyArray, first: int, depth: int) -> None:
    """Write (slices, rows, columns) in chunks of `depth` slices, numbered from `first`."""
    for index, slab in enumerate(_slabs(voxels.astype("<i2", copy=False), depth)):
        (folder / FOLDER / f"{level}-{first + index}").write_bytes(slab.tobytes())


def _pooled(array: AnyArray, factors: tuple[int, ...]) -> AnyArray:
    """Means of blocks of (columns, rows, slices); a last block that is not full repeats its edge."""
    steps = factors[::-1]
    if max(steps) == 1:
        return array
    missing = [(0, -n % f) for n, f in zip(array.shape, steps, strict=True)]
    if any(after for _, after in missing):
        array = np.pad(array, missing, mode="edge")
    mean = np.zeros([n // f for n, f in zip(array.shape, steps, strict=True)], np.float32)
    for k, j, i in np.ndindex(*steps):
        mean += array[k :: steps[0], j :: steps[1], i :: steps[2]]
    mean /= np.float32(np.prod(steps))
    return mean


class _Whole:
    """Makes int16 of values: rounded, or stretched over `_GREYS` where the numbers mean nothing and may have any range."""

    def __init__(self, array: AnyArray, *, stretch: bool) -> None:
        self._low = float(array.min()) if stretch else 0.0
        high = float(array.max()) if stretch else 0.0
        self._gain = (_GREYS / (high - self._low) if high > self._low else 0.0) if stretch else 1.0

    def __call__(self, array: AnyArray) -> AnyArray:
        if array.dtype == np.int16:
            return array
        if self._gain != 1.0:
            array = (array - self._low) * self._gain
        bounds = np.iinfo(np.int16)
        whole: AnyArray = np.rint(array).clip(bounds.min, bounds.max).astype(np.int16)
        return whole
