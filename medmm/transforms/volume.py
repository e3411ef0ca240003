"""A volume to the fixed grid a network reads: one resampling, then windows.

Orientation, spacing, crop and pad happen in a single separable linear resampling with
antialiasing, because the target grid is axis-aligned and so are nearly all scans. An oblique scan
takes MONAI's `SpatialResample` instead. The result is a MONAI `MetaTensor`, so MONAI transforms
and networks see voxels with their affine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from pydantic import ConfigDict

from medmm.errors import ScopeError
from medmm.geometry import Grid
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
_SLAB = 16  # resampled slices held at a time
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
        antialias: Whether finer voxels are averaged (True) or sampled by plain linear interpolation.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    windows: tuple[tuple[float, float], ...] = ((-1000.0, 600.0), (-160.0, 240.0))
    unit: Unit = "HU"
    modality: str = "CT"
    antialias: bool = True


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


def resample(volume: Volume, recipe: VolumeRecipe, device: torch.device | str = "cpu") -> tuple[MetaTensor, list[Notice]]:
    """Bring a volume onto the recipe's grid, centred on the volume.

    Args:
        volume: Any orientation and spacing.
        recipe: Target.
        device: Where to compute; the result stays there.

    Returns:
        (1, R, A, S) int16 `MetaTensor` in the volume's unit with its affine, and what to tell the reader.

    Raises:
        ScopeError: If the volume is not of the kind the recipe was made for.
    """
    from monai.data import MetaTensor

    _refuse_other_kind(volume, recipe)
    target = volume.grid.centred(recipe.spacing, recipe.shape)
    aligned = np.abs(volume.grid.directions).max(axis=0).min() > _ALIGNED
    values = (_resample_aligned if aligned else _resample_oblique)(volume, target, recipe, device)
    whole = values.clamp_(-32768, 32767).round_().to(torch.int16)[None].contiguous()
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


class _Taps(NamedTuple):
    """Linear interpolation along one axis: target voxel m is the sum over t of weight[t, m] * source[place[t, m]]."""

    place: torch.Tensor  # (T, M) int64
    weight: torch.Tensor  # (T, M) float32
    outside: torch.Tensor  # (M,) bool, targets that lie beyond the source


def _resample_aligned(volume: Volume, target: Grid, recipe: VolumeRecipe, device: torch.device | str) -> torch.Tensor:
    """Separable linear resampling of (1, I, J, K) to the target's (R, A, S), float32 on `device`."""
    source, pad = _as_tensor(volume.array[0]), PAD.get(recipe.unit, 0.0)
    patient = volume.grid.patient_axes
    taps = [_taps(volume.grid, target, voxel, patient[voxel], recipe.antialias, device) for voxel in range(3)]
    # From the axis that lies farthest apart in memory to the contiguous one: slabs are then cut without gathering.
    order = sorted(range(3), key=source.stride, reverse=True)
    values = _separable(source.permute(order), [taps[voxel] for voxel in order], device)
    values = values.permute([order.index(patient.index(axis)) for axis in range(3)])
    for voxel, along in enumerate(taps):
        values.index_fill_(patient[voxel], along.outside.nonzero()[:, 0], pad)
    return values


def _separable(source: torch.Tensor, taps: Sequence[_Taps], device: torch.device | str) -> torch.Tensor:
    """Resample each axis of (N0, N1, N2), a few outer slices at a time.

    Only a slab is ever held as floating point, so a whole-body scan costs little more than its own bytes.
    """
    outer, middle, inner = taps
    rows, columns = _reached(middle.place), _reached(inner.place)
    slabs = []
    for place, weight in zip(torch.split(outer.place, _SLAB, 1), torch.split(outer.weight, _SLAB, 1), strict=True):
        planes = _reached(place)
        slab = source[planes, rows, columns].to(device).float()
        slab = _along(slab, 0, place - planes.start, weight)
        slab = _along(slab, 1, middle.place - rows.start, middle.weight)
        slabs.append(_along(slab, 2, inner.place - columns.start, inner.weight))
    return torch.cat(slabs)


def _as_tensor(array: AnyArray) -> torch.Tensor:
    """The same memory as a tensor, a copy only where torch cannot have it (flipped or read-only)."""
    return torch.from_numpy(array if min(array.strides) > 0 and array.flags.writeable else array.copy())


def _reached(place: torch.Tensor) -> slice:
    return slice(int(place.min()), int(place.max()) + 1)


def _along(values: torch.Tensor, axis: int, place: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The weighted sum of taps (T, M) along one axis, which then has M voxels."""
    shape = [-1 if a == axis else 1 for a in range(3)]
    total = values.index_select(axis, place[0]).mul_(weight[0].view(shape))
    for which, share in zip(place[1:], weight[1:], strict=True):
        total.addcmul_(values.index_select(axis, which), share.view(shape))
    return total


def _taps(grid: Grid, target: Grid, voxel: int, patient: int, antialias: bool, device: torch.device | str) -> _Taps:
    """Triangle-filter taps from one source axis to the patient axis it runs along.

    Args:
        grid: Of the source.
        target: Axis-aligned RAS+.
        voxel: Source axis.
        patient: Patient axis.
        antialias: Widen the triangle to the target's spacing where that is larger.
        device: Where to put them.
    """
    size, step = grid.shape[voxel], float(grid.affine[patient, voxel])
    origin = grid.centre[patient] - step * (size - 1) / 2  # a slight tilt then cancels in the middle
    places = target.affine[patient, patient] * np.arange(target.shape[patient]) + target.affine[patient, 3]
    centres = (places - origin) / step
    reach = max(target.spacing[patient] / abs(step), 1.0) if antialias else 1.0
    index = np.floor(centres - reach).astype(np.int64)[None] + np.arange(1, int(np.ceil(2 * reach)) + 1)[:, None]
    weight = np.clip(1 - np.abs(index - centres) / reach, 0, None)
    weight[(index < 0) | (index >= size)] = 0.0
    weight /= np.maximum(weight.sum(0), 1e-12)
    outside = (centres < -_EDGE) | (centres > size - 1 + _EDGE)
    index, weight = np.clip(index, 0, size - 1), weight.astype(np.float32)
    return _Taps(*(torch.from_numpy(a).to(device) for a in (index, weight, outside)))


def _resample_oblique(volume: Volume, target: Grid, recipe: VolumeRecipe, device: torch.device | str) -> torch.Tensor:
    from monai.data import MetaTensor
    from monai.transforms import SpatialResample

    # Antialias first: average down to about the target's spacing along each voxel axis.
    tensor, pad = torch.from_numpy(np.ascontiguousarray(volume.array[:1])).to(device).float(), PAD.get(recipe.unit, 0.0)
    factors = [max(1, round(t / s)) if recipe.antialias else 1 for t, s in zip(target.spacing, volume.grid.spacing, strict=True)]
    factors = [min(f, n) for f, n in zip(factors, volume.grid.shape, strict=True)]
    pooled = torch.nn.functional.avg_pool3d(tensor, factors)
    shift = np.diag([*factors, 1.0])
    shift[:3, 3] = [(f - 1) / 2 for f in factors]
    source = MetaTensor(pooled - pad, affine=torch.from_numpy(volume.grid.affine @ shift))
    resampler: Any = SpatialResample(mode="bilinear", padding_mode="zeros", dtype=torch.float32)
    out = resampler(source, dst_affine=torch.from_numpy(target.affine), spatial_size=target.shape)
    result: torch.Tensor = out.as_tensor()[0] + pad
    return result
