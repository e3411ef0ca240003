"""A volume to the fixed grid a network reads: one resampling, then windows.

Orientation, spacing, crop and pad happen in a single separable linear resampling (`resampling`) with
antialiasing, because the target grid is axis-aligned and so are nearly all scans. An oblique scan
takes MONAI's `SpatialResample` instead. The result is a MONAI `MetaTensor`, so MONAI transforms
and networks see voxels with their affine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import ConfigDict

from medmm.errors import ScopeError
from medmm.geometry import Grid
from medmm.optional import monai
from medmm.study import Notice, Study, Volume
from medmm.transforms.resampling import is_aligned, sample_aligned
from medmm.types import FloatArray, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monai.data import MetaTensor

PAD = {"HU": -1000.0, "intensity": 0.0}
_MULTIPLE = 8  # networks halve a few times
_COVERED = 0.5  # of a typical study's extent; less is another kind of scan
_ROUNDING = 1e-6  # of a voxel, by which an extent may miss a whole number of them
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
        volumes: Most images of one study that are read.
        beyond: What lies beyond a scan: `air`, or the `least` value of the scan in voxels of this size, within the first window.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    windows: tuple[tuple[float, float], ...] = ((-1000.0, 600.0), (-160.0, 240.0))
    unit: Unit = "HU"
    modality: str = "CT"
    antialias: bool = True
    volumes: int = 1
    beyond: Literal["air", "least"] = "air"

    def read(self, study: Study) -> tuple[tuple[torch.Tensor], list[Notice]]:
        """(V, R, A, S) in the recipe's unit: the first image and the next that are of its kind, `volumes` at most.

        Raises:
            ScopeError: If the first image is of another kind.
        """
        chosen = [study.volumes[0], *(v for v in study.volumes[1:] if (v.unit, v.modality) == (self.unit, self.modality))]
        read = [resample(volume, self) for volume in chosen[: self.volumes]]
        notices = [notice for _, told in read for notice in told]
        if (there := len(study.volumes)) > len(read):
            used = "the first" if len(read) == 1 else str(len(read))
            notices.append(Notice("W_EXTRA_IMAGES", f"Only {used} of {there} images was used."))
        return (torch.cat([image.as_tensor() for image, _ in read]),), notices

    def stack(self, inputs: Sequence[tuple[torch.Tensor, ...] | None]) -> tuple[torch.Tensor, ...]:
        """(B, windows, R, A, S); with several images a study (B, V, windows, R, A, S) and (B, V), True on real ones."""
        if self.volumes == 1:
            empty = torch.zeros(1, *self.shape)
            return (to_channels(torch.stack([empty if given is None else given[0] for given in inputs]), self.windows),)
        counts = torch.tensor([0 if given is None else len(given[0]) for given in inputs])
        mask = torch.arange(int(counts.max())) < counts[:, None]
        images = torch.zeros(*mask.shape, len(self.windows), *self.shape)
        images[mask] = to_channels(torch.cat([given[0] for given in inputs if given is not None])[:, None], self.windows)
        return images, mask


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
        (1, R, A, S) float32 `MetaTensor` in the volume's unit with its affine, and what to tell the reader. Not rounded: the
        last digits of an affine, which file formats keep differently, then move the input by as little.

    Raises:
        ScopeError: If the volume is not of the kind the recipe was made for.
    """
    _refuse_other_kind(volume, recipe)
    target = volume.grid.centred(recipe.spacing, recipe.shape)
    pad = PAD.get(recipe.unit, 0.0) if recipe.beyond == "air" else _least(volume, recipe, device)
    if is_aligned(volume.grid):
        values = sample_aligned(volume.array[0], volume.grid, target, pad, antialias=recipe.antialias, device=device)
    else:
        values = _resample_oblique(volume, target, recipe, pad, device)
    tensor = monai("data").MetaTensor(values[None].contiguous(), affine=torch.from_numpy(target.affine))
    return tensor, _coverage_notices(volume.grid, recipe)


def to_channels(hu: torch.Tensor, windows: Sequence[tuple[float, float]]) -> torch.Tensor:
    """Window a batch into channels.

    Args:
        hu: (B, 1, R, A, S) in the recipe's unit.
        windows: (low, high) for each channel.

    Returns:
        (B, len(windows), R, A, S) float32 in -1..1.
    """
    channels = torch.empty((len(hu), len(windows), *hu.shape[2:]), device=hu.device)
    for channel, (low, high) in enumerate(windows):
        part = channels[:, channel].copy_(hu[:, 0])
        part.sub_(low).mul_(2 / (high - low)).sub_(1).clamp_(-1, 1)
    return channels


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


def _least(volume: Volume, recipe: VolumeRecipe, device: torch.device | str) -> float:
    """The least value of the whole scan in voxels of the recipe's size along its own axes, as many as it has room for."""
    grid = volume.grid
    own = Grid(grid.shape, np.diag([*grid.spacing, 1.0]))
    i, j, k = (recipe.spacing[axis] for axis in grid.patient_axes)
    rows, columns, slices = (max(1, int(e / s + _ROUNDING)) for e, s in zip(grid.extent, (i, j, k), strict=True))
    coarse = own.centred((i, j, k), (rows, columns, slices))
    values = sample_aligned(volume.array[0], own, coarse, 0.0, antialias=recipe.antialias, device=device)
    return float(np.clip(values.min().item(), *recipe.windows[0]))


def _resample_oblique(volume: Volume, target: Grid, recipe: VolumeRecipe, pad: float, device: torch.device | str) -> torch.Tensor:
    # Antialias first: average down to about the target's spacing along each voxel axis.
    tensor = torch.from_numpy(np.ascontiguousarray(volume.array[:1])).to(device).float()
    factors = [max(1, round(t / s)) if recipe.antialias else 1 for t, s in zip(target.spacing, volume.grid.spacing, strict=True)]
    factors = [min(f, n) for f, n in zip(factors, volume.grid.shape, strict=True)]
    pooled = torch.nn.functional.avg_pool3d(tensor, factors)
    shift = np.diag([*factors, 1.0])
    shift[:3, 3] = [(f - 1) / 2 for f in factors]
    source = monai("data").MetaTensor(pooled - pad, affine=torch.from_numpy(volume.grid.affine @ shift))
    # In double precision: MONAI's coordinates in single precision are off by a noticeable part of a voxel at the far end.
    resampler = monai("transforms").SpatialResample(mode="bilinear", padding_mode="zeros", dtype=torch.float64)
    out = resampler(source, dst_affine=torch.from_numpy(target.affine), spatial_size=target.shape)
    result: torch.Tensor = out.as_tensor()[0] + pad
    return result
