"""A volume to the fixed grid a network reads: one resampling, then windows.

Orientation, spacing, crop and pad happen in a single separable linear resampling with
antialiasing, because the target grid is axis-aligned and so are nearly all scans. An oblique scan
takes MONAI's `SpatialResample` instead. The result is a MONAI `MetaTensor`, so MONAI transforms
and networks see voxels with their affine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import ConfigDict

from medmm.errors import ScopeError
from medmm.geometry import Grid, reorient
from medmm.study import Notice, Volume
from medmm.types import AnyArray, FloatArray, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monai.data import MetaTensor

PAD = {"HU": -1000.0, "intensity": 0.0}
_ALIGNED = 0.9999  # cosine: closer than 0.8 degrees to the axes, separable resampling moves nothing noticeably
_EDGE = 0.5 + 1e-6  # voxels beyond the outermost centre that still belong to it, rounding apart
_MULTIPLE = 8  # networks halve a few times
_COVERED = 0.5  # of a typical study's extent; less is another kind of scan
_CUT = 1.25  # times the field of view; a larger scan loses a fifth of its width unread


@dataclass(frozen=True, slots=True)
class VolumeRecipe:
    """How a volume becomes network input; stored with the weights.

    Attributes:
        shape: Voxels of the input along R, A, S.
        spacing: mm along R, A, S.
        windows: (low, high) in `unit`, one input channel each, mapped to -1..1 and clipped.
        unit: What the voxel values must mean.
        modality: DICOM modality the model was made for.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    windows: tuple[tuple[float, float], ...] = ((-1000.0, 600.0), (-160.0, 240.0))
    unit: Unit = "HU"
    modality: str = "CT"


def plan_recipe(volumes: Sequence[tuple[Grid, Unit, str]], budget: int) -> VolumeRecipe:
    """Choose shape and spacing from a cohort, as large as a voxel budget allows.

    The field of view covers 95 % of the studies along each axis; voxels are cubes.

    Args:
        volumes: Grid, unit and modality of each training volume; all of one unit.
        budget: Voxels of one network input.
    """
    units = {(unit, modality) for _, unit, modality in volumes}
    if len(units) != 1:
        kinds = ", ".join(sorted(f"{modality} in {unit}" for unit, modality in units)) or "none"
        msg = f"Expected training images of one kind; got {kinds}. Train on one kind at a time."
        raise ScopeError(msg)
    ((unit, modality),) = units
    field = np.percentile([_extent_ras(grid) for grid, _, _ in volumes], 95, axis=0)
    if all(grid.shape[2] == 1 for grid, _, _ in volumes):
        side = float(np.sqrt(field[0] * field[1] / budget))
        shape, spacing = (_round_up(field[0] / side), _round_up(field[1] / side), 1), (side, side, 1.0)
        return VolumeRecipe(shape, spacing, ((0.0, 255.0),), unit, modality)
    side = round(float(np.cbrt(field.prod() / budget)), 2)
    i, j, k = (_round_up(f / side) for f in field)
    recipe = VolumeRecipe((i, j, k), (side, side, side), unit=unit, modality=modality)
    return recipe if unit == "HU" else VolumeRecipe(recipe.shape, recipe.spacing, ((0.0, 255.0),), unit, modality)


def resample(volume: Volume, recipe: VolumeRecipe) -> tuple[MetaTensor, list[Notice]]:
    """Bring a volume onto the recipe's grid, centred on the volume.

    Args:
        volume: Any orientation and spacing.
        recipe: Target.

    Returns:
        (1, R, A, S) int16 `MetaTensor` in the volume's unit with its affine, and what to tell the reader.

    Raises:
        ScopeError: If the volume is not of the kind the recipe was made for.
    """
    from monai.data import MetaTensor

    _refuse_other_kind(volume, recipe)
    target = volume.grid.centred(recipe.spacing, recipe.shape)
    pad = PAD.get(recipe.unit, 0.0)
    aligned = np.abs(volume.grid.directions).max(axis=0).min() > _ALIGNED
    values = _resample_aligned(volume, target, pad) if aligned else _resample_oblique(volume, target, pad)
    whole = torch.from_numpy(np.rint(np.clip(values, -32768, 32767)).astype(np.int16))[None]
    return MetaTensor(whole, affine=torch.from_numpy(target.affine)), _coverage_notices(volume.grid, recipe)


def to_channels(hu: torch.Tensor, windows: Sequence[tuple[float, float]]) -> torch.Tensor:
    """Window a batch into channels.

    Args:
        hu: (B, 1, R, A, S) in the recipe's unit.
        windows: (low, high) for each channel.

    Returns:
        (B, len(windows), R, A, S) float32 in -1..1.
    """
    values = hu.float()
    channels = [((values - low) * (2 / (high - low)) - 1).clamp_(-1, 1) for low, high in windows]
    return torch.cat(channels, dim=1)


def _extent_ras(grid: Grid) -> FloatArray:
    corners = np.abs(grid.affine[:3, :3]) @ np.asarray(grid.shape)
    extent: FloatArray = corners
    return extent


def _round_up(voxels: float) -> int:
    return max(_MULTIPLE, int(np.ceil(voxels / _MULTIPLE)) * _MULTIPLE)


def _refuse_other_kind(volume: Volume, recipe: VolumeRecipe) -> None:
    if volume.unit != recipe.unit or volume.modality != recipe.modality:
        msg = (
            f"Expected {recipe.modality} in {recipe.unit}; got {volume.modality} in {volume.unit}. "
            "This model cannot read it: use a model made for such images."
        )
        raise ScopeError(msg)
    if recipe.shape[2] > 1 and volume.grid.shape[2] == 1:
        msg = "Expected a volume of many slices; got a single slice. Hand in the whole series."
        raise ScopeError(msg)


def _coverage_notices(grid: Grid, recipe: VolumeRecipe) -> list[Notice]:
    field = np.asarray(recipe.shape) * np.asarray(recipe.spacing)
    extent = _extent_ras(grid)
    if (extent < _COVERED * field).any():
        shown = " x ".join(f"{e:.0f}" for e in extent)
        usual = " x ".join(f"{f:.0f}" for f in field)
        return [Notice("W_SMALL_FIELD", f"The scan covers {shown} mm; the model was made for about {usual} mm.")]
    if (extent > field * _CUT).any():
        shown = " x ".join(f"{e:.0f}" for e in extent)
        usual = " x ".join(f"{f:.0f}" for f in field)
        return [Notice("W_LARGE_FIELD", f"The scan covers {shown} mm; only the middle {usual} mm are read.")]
    return []


def _resample_aligned(volume: Volume, target: Grid, pad: float) -> FloatArray:
    """Separable linear resampling of (1, I, J, K) to the target's (R, A, S)."""
    array, affine = reorient(volume.array[:1], volume.grid.affine)
    centre = volume.grid.centre
    values: FloatArray = array[0]
    # Reduce the axis that shrinks most first: the later products are then small.
    for axis in sorted(range(3), key=lambda a: target.shape[a] / array.shape[a + 1]):
        step = affine[axis, axis]
        origin = centre[axis] - step * (array.shape[axis + 1] - 1) / 2  # a slight tilt then cancels in the middle
        centres = (target.affine[axis, axis] * np.arange(target.shape[axis]) + target.affine[axis, 3] - origin) / step
        weights, outside = _linear_weights(centres, target.spacing[axis] / step, values.shape[axis])
        reduced = np.tensordot(weights, values, axes=(1, axis))
        reduced[outside] = pad
        values = np.moveaxis(reduced, 0, axis)
    return values


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


def _resample_oblique(volume: Volume, target: Grid, pad: float) -> FloatArray:
    from monai.data import MetaTensor
    from monai.transforms import SpatialResample

    # Antialias first: average down to about the target's spacing along each voxel axis.
    tensor = torch.from_numpy(np.ascontiguousarray(volume.array[:1])).float()
    factors = [max(1, round(t / s)) for t, s in zip(target.spacing, volume.grid.spacing, strict=True)]
    factors = [min(f, n) for f, n in zip(factors, volume.grid.shape, strict=True)]
    pooled = torch.nn.functional.avg_pool3d(tensor, factors)
    shift = np.diag([*factors, 1.0])
    shift[:3, 3] = [(f - 1) / 2 for f in factors]
    source = MetaTensor(pooled - pad, affine=torch.from_numpy(volume.grid.affine @ shift))
    resampler: Any = SpatialResample(mode="bilinear", padding_mode="zeros", dtype=torch.float32)
    out = resampler(source, dst_affine=torch.from_numpy(target.affine), spatial_size=target.shape)
    result: AnyArray = out.as_tensor()[0].numpy() + pad
    return result
