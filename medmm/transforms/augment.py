"""Random changes of training images that leave the diagnosis alone. MONAI behind one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from medmm.transforms.volume import VolumeRecipe


_TURN, _SCALE, _SHIFT = 0.12, 0.1, 2  # radians, share, voxels: wider shifts made weak labels unlearnable


class ImageAugmentation:
    """Small turns, scalings and shifts, and small changes of grey level. No mirror: anatomy has sides.

    Args:
        recipe: Of the images to change.
        seed: Seed of every random choice.
    """

    def __init__(self, recipe: VolumeRecipe, seed: int) -> None:
        from monai import transforms

        low, high = recipe.windows[0]
        flat = recipe.shape[2] == 1
        move = transforms.RandAffine(
            prob=0.3,
            rotate_range=(0.0, 0.0, _TURN) if flat else (_TURN, _TURN, _TURN),
            scale_range=(_SCALE, _SCALE, 0.0) if flat else (_SCALE, _SCALE, _SCALE),
            translate_range=(_SHIFT, _SHIFT, 0) if flat else (_SHIFT, _SHIFT, _SHIFT),
            padding_mode="border",
        )
        grey = transforms.RandShiftIntensity(offsets=0.02 * (high - low), prob=0.5)
        contrast = transforms.RandScaleIntensity(factors=0.05, prob=0.5)
        self._all: Any = transforms.Compose([move, grey, contrast])
        self._all.set_random_state(seed=seed)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Change one (1, R, A, S) float32 image."""
        changed: torch.Tensor = self._all(image)
        return changed.as_tensor() if hasattr(changed, "as_tensor") else changed
