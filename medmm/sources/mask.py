"""A segmentation that belongs to a study: labels on the study's own voxels."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from medmm.errors import MaskError
from medmm.geometry import Grid, reorient
from medmm.sources.opener import open_study
from medmm.types import AnyArray, FloatArray

_MOST_LABELS = 255
_AGREES = 0.1  # of a voxel, at every corner: more than rounding in a header, less than any error


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask on a grid.

    Attributes:
        values: (I, J, K) uint8, axes nearest to R, A, S; 0 is background, n the nth of `labels`.
        affine: (4, 4) from its voxel index to RAS+ millimetres.
        labels: The numbers that stand in the file, ascending, without 0.
    """

    values: AnyArray
    affine: FloatArray
    labels: tuple[int, ...]


def read_mask(path: str | os.PathLike[str], grid: Grid | None = None) -> Mask:
    """Read a NIfTI file of whole numbers.

    Args:
        path: The file.
        grid: Of the study; the mask's voxels must be the study's, in whichever order its axes run. None to take it where it lies.

    Raises:
        MaskError: If it is no such file, holds no label or too many, or lies elsewhere.
        InputError: As of `open_study`.
    """
    study = open_study(path)
    if study.provenance.source != "nifti":
        msg = "Expected a mask as one NIfTI file; got another kind of image. Export the segmentation as NIfTI."
        raise MaskError(msg)
    (volume,) = study.volumes
    array, affine = reorient(volume.array, volume.grid.affine)
    if grid is not None:
        _refuse_elsewhere(volume.grid, grid)
    found = np.unique(array)
    labels = found[found != 0]
    if array.dtype != np.int16 or not 0 < len(labels) <= _MOST_LABELS or labels[0] < 0:
        msg = (
            f"Expected 1 to {_MOST_LABELS} labels as whole numbers above 0, background 0; got something else. "
            "Upload the segmentation, not the image or a probability."
        )
        raise MaskError(msg)
    values = np.searchsorted(labels, array[0], side="right").astype(np.uint8)
    return Mask(values, affine, tuple(int(label) for label in labels))


def _refuse_elsewhere(mask: Grid, study: Grid) -> None:
    """Refuse a mask whose outermost voxels are not the study's."""
    ours, theirs = (_corners(grid) for grid in (study, mask))
    same_size = sorted(mask.shape) == sorted(study.shape)
    if not same_size or np.abs(ours - theirs).max() > _AGREES * min(study.spacing):
        msg = (
            f"Expected a mask on the study's own {_size(study)} voxels; got one of {_size(mask)}, or elsewhere in the patient. "
            "Resample it onto the study."
        )
        raise MaskError(msg)


def _corners(grid: Grid) -> FloatArray:
    """(8, 3) middles of the outermost voxels in mm, in the order of axes nearest to R, A, S."""
    empty = np.broadcast_to(np.zeros((), np.uint8), (1, *grid.shape))
    turned, affine = reorient(empty, grid.affine)
    ends = np.array(list(np.ndindex(2, 2, 2))) * (np.array(turned.shape[1:]) - 1)
    corners: FloatArray = ends @ affine[:3, :3].T + affine[:3, 3]
    return corners


def _size(grid: Grid) -> str:
    return " x ".join(map(str, grid.shape))
