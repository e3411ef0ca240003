"""Random changes of training images that leave the diagnosis alone, in one interpolation."""

from __future__ import annotations

from itertools import starmap

import numpy as np
import torch
from torch.nn import functional

from medmm.transforms.augment.choice import ImageChanges
from medmm.transforms.volume import VolumeRecipe
from medmm.types import FloatArray

_AXES = {"left_right": 1, "back_front": 2, "foot_head": 3}


def change_image(image: torch.Tensor, recipe: VolumeRecipe, changes: ImageChanges, rng: np.random.Generator) -> torch.Tensor:
    """A changed copy of (V, R, A, S) images of a recipe."""
    if rng.random() < changes.chance:
        image = moved(image, *_draw_move(recipe, changes, rng))
    for side in changes.flip:
        if rng.random() < changes.chance:
            image = image.flip(_AXES[side])
    low, high = recipe.windows[0]
    brighter, steeper = rng.uniform(-1, 1, 2)
    if changes.contrast:
        middle = (low + high) / 2
        image = middle + (image - middle) * (1 + changes.contrast * steeper)
    image = image + changes.brightness * (high - low) * brighter
    if changes.noise:
        image = image + changes.noise * (high - low) * torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
    if changes.slice_dropout:
        hidden = torch.from_numpy(rng.random(image.shape[3]) < changes.slice_dropout)
        image = torch.where(hidden, torch.tensor(low, dtype=image.dtype), image)
    return image


def moved(image: torch.Tensor, matrix: FloatArray, offset: FloatArray) -> torch.Tensor:
    """The images seen through an affine map about their centre; beyond the border the nearest voxel goes on.

    Args:
        image: (V, R, A, S).
        matrix: (3, 3), from places in the result to places in the image, in voxels from the centre.
        offset: (3,) added to these.
    """
    size = torch.tensor(image.shape[1:], dtype=torch.float32)
    centre = (size - 1) / 2
    places = torch.stack(torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in image.shape[1:]), indexing="ij"), dim=-1)
    source = places @ torch.from_numpy(matrix).float().T + torch.from_numpy(offset).float()
    inside = source / centre.clamp_min(0.5)  # -1 to 1 from first to last voxel
    return functional.grid_sample(image[None], inside.flip(-1)[None], "bilinear", "border", align_corners=True)[0]


def _draw_move(recipe: VolumeRecipe, changes: ImageChanges, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Matrix and offset of `moved`; angles are true in millimetres, and a picture stays in its plane."""
    deep = np.array([1.0, 1.0, recipe.shape[2] > 1])
    angles = np.deg2rad(changes.rotation) * rng.uniform(-1, 1, 3) * (1 if deep[2] else [0, 0, 1])
    kept = 1 - changes.crop * rng.random()
    scale = np.where(deep > 0, kept * (1 + changes.scale * rng.uniform(-1, 1, 3)), 1.0)
    slack = (1 - kept) / 2 * (np.array(recipe.shape) - 1) * rng.uniform(-1, 1, 3)
    spacing = np.array(recipe.spacing)
    matrix = np.diag(1 / spacing) @ rotation(angles) @ np.diag(spacing * scale)
    return matrix, (changes.shift * rng.uniform(-1, 1, 3) + slack) * deep


def rotation(angles: FloatArray) -> FloatArray:
    """(3, 3) turn about the first, then the second, then the third axis, by angles in radians."""
    about_first, about_second, about_third = starmap(_turn, zip(angles, ((1, 2), (2, 0), (0, 1)), strict=True))
    turned: FloatArray = about_third @ about_second @ about_first
    return turned


def _turn(angle: float, plane: tuple[int, int]) -> FloatArray:
    matrix = np.eye(3)
    matrix[np.ix_(plane, plane)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix
