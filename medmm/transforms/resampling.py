"""One linear resampling from any axis-aligned scan to any axis-aligned grid: orientation, spacing, crop and pad at once.

A target grid along the patient's axes needs no gather: each axis is a banded matrix of linear weights,
flips and permutation included. The volume is read once, in the order it lies in memory, a few planes
at a time, as int16; nothing of its size is ever made. The same code runs on a CPU and on a GPU.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from medmm.geometry import Grid
from medmm.types import AnyArray, FloatArray

ALIGNED = 0.9999  # cosine: closer than 0.8 degrees to the axes, separable resampling moves nothing noticeably
_EDGE = 0.5 + 1e-4  # voxels beyond the outermost centre that still belong to it, a float32 affine's rounding apart
_PLANES, _BLOCK = 8, 32  # outputs computed together: a working set that stays in the cache


class _Axis(NamedTuple):
    """How one target axis is made: from which voxel axis, by which (outputs, inputs) weights, and which outputs lie outside."""

    source: int
    weights: FloatArray
    outside: AnyArray


def is_aligned(grid: Grid) -> bool:
    """Whether voxel axes lie along the patient's axes, in any order and direction."""
    return bool(np.abs(grid.directions).max(axis=0).min() > ALIGNED)


def sample_aligned(
    array: AnyArray, grid: Grid, target: Grid, pad: float, *, antialias: bool = True, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Resample an aligned volume.

    Args:
        array: (I, J, K) voxels, int16 or float32, any strides.
        grid: Their geometry, aligned.
        target: Axis-aligned RAS+ grid.
        pad: Value where the volume is not.
        antialias: Average where voxels grow (triangle filter); else take the value at each centre, as grid sampling does.
        device: Where to compute.

    Returns:
        (R, A, S) float32.
    """
    axes = [_axis(grid, target, axis, antialias) for axis in range(3)]
    memory = sorted(range(3), key=lambda voxel: -abs(array.strides[voxel]))  # slowest first
    lying = torch.from_numpy(_upright(array.transpose(memory)))
    slow, middle, fast = (next(axis for axis in axes if axis.source == voxel) for voxel in memory)
    weights = [torch.from_numpy(axis.weights).to(device) for axis in (slow, middle, fast)]
    out = torch.empty([len(w) for w in weights], device=device)
    for start in range(0, len(out), _PLANES):
        rows, first, last = _band(weights[0], start, start + _PLANES)
        planes = lying[first:last].to(device).float().flatten(1)
        planes = (rows @ planes).view(len(rows), *lying.shape[1:])
        out[start : start + _PLANES] = _along_fast(_along_middle(planes, weights[1]), weights[2])
    for dimension, axis in enumerate((slow, middle, fast)):
        outside = torch.from_numpy(np.flatnonzero(axis.outside)).to(device)
        out.index_fill_(dimension, outside, pad)
    sources = [memory.index(axis.source) for axis in axes]
    return out.permute(sources)


def _upright(array: AnyArray) -> AnyArray:
    """The same array where torch can take it as it lies, else a copy (flipped or read-only)."""
    return array if min(array.strides) > 0 and array.flags.writeable else array.copy()


def _axis(grid: Grid, target: Grid, axis: int, antialias: bool) -> _Axis:
    to_source = np.linalg.inv(grid.affine) @ target.affine
    source = grid.patient_axes.index(axis)
    middle = (np.asarray(target.shape) - 1) / 2
    centre = (to_source @ np.append(middle, 1.0))[source]  # taken in the middle, where a slight tilt cancels
    step = to_source[source, axis]
    centres = centre + step * (np.arange(target.shape[axis]) - middle[axis])
    weights, outside = _linear_weights(centres, abs(step) if antialias else 1.0, grid.shape[source])
    return _Axis(source, weights, outside)


def _linear_weights(centres: FloatArray, scale: float, size: int) -> tuple[FloatArray, AnyArray]:
    """Triangle-filter weights (len(centres), size), and which centres lie outside the source.

    Args:
        centres: Target voxel centres in source index units.
        scale: Target spacing over source spacing; above 1 the triangle widens to avoid aliasing.
        size: Source voxels along this axis.
    """
    distance = np.abs(np.arange(size)[None, :] - centres[:, None])
    weights = np.clip(1 - distance / max(scale, 1.0), 0, None)
    outside = (centres < -_EDGE) | (centres > size - 1 + _EDGE)
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-12)
    return weights.astype(np.float32), outside


def _band(weights: torch.Tensor, start: int, stop: int) -> tuple[torch.Tensor, int, int]:
    """Weights of some outputs on the inputs that matter to them, and which these are."""
    rows = weights[start:stop]
    used = rows.any(dim=0).nonzero()
    first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
    return rows[:, first:last], first, last


def _along_middle(planes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(N, rows, columns) to (N, outputs, columns)."""
    out = planes.new_empty(len(planes), len(weights), planes.shape[2])
    for start in range(0, len(weights), _BLOCK):
        rows, first, last = _band(weights, start, start + _BLOCK)
        out[:, start : start + _BLOCK] = rows @ planes[:, first:last]
    return out


def _along_fast(planes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(N, rows, columns) to (N, rows, outputs)."""
    lines = planes.flatten(0, 1)
    out = planes.new_empty(len(lines), len(weights))
    for start in range(0, len(weights), _BLOCK):
        rows, first, last = _band(weights, start, start + _BLOCK)
        out[:, start : start + _BLOCK] = lines[:, first:last] @ rows.T
    return out.view(len(planes), planes.shape[1], len(weights))
