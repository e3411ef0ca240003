"""Images: the geometry of scipy, gentle by default, mirrored only when asked, and grey levels about the window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from medmm.transforms.augment.choice import ImageChanges
from medmm.transforms.augment.image import change_image, moved, rotation
from medmm.transforms.volume import VolumeRecipe

RECIPE = VolumeRecipe((24, 24, 24), (3.0, 3.0, 3.0))
STILL = ImageChanges(chance=0, brightness=0, contrast=0)
PICTURE = VolumeRecipe((24, 20, 1), (1.0, 1.0, 1.0), ((0.0, 255.0),), "intensity", "OT")


def marked_left() -> torch.Tensor:
    image = torch.full((1, 24, 24, 24), -1000.0)
    image[0, 2:6, 10:14, 10:14] = 1000.0
    return image


def changed(changes: ImageChanges, image: torch.Tensor | None = None, seed: int = 0, recipe: VolumeRecipe = RECIPE) -> torch.Tensor:
    return change_image(marked_left() if image is None else image, recipe, changes, np.random.default_rng(seed))


@pytest.mark.parametrize("shape", [(9, 12, 7), (16, 16, 1), (8, 9, 10)])
def test_an_image_moves_as_scipy_moves_it(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(size=shape).astype(np.float32)
    flat = shape[2] == 1
    matrix = rotation(np.array([0.0, 0.0, 0.4]) if flat else np.array([0.2, -0.3, 0.4])) @ np.diag([0.9, 1.1, 1.0])
    offset = np.array([1.3, -0.7, 0.0 if flat else 0.4])
    centre = (np.array(shape) - 1) / 2
    expected = affine_transform(image, matrix, centre + offset - matrix @ centre, order=1, mode="nearest")
    ours = moved(torch.from_numpy(image)[None], matrix, offset)[0].numpy()
    np.testing.assert_allclose(ours, expected, atol=2e-4)


def test_a_rotation_is_that_of_scipy() -> None:
    expected = Rotation.from_euler("xyz", [0.3, -0.2, 0.5]).as_matrix()
    np.testing.assert_allclose(rotation(np.array([0.3, -0.2, 0.5])), expected, atol=1e-12)


def test_angles_are_true_in_millimetres() -> None:
    """A cube that covers fewer voxels along one axis keeps its volume and its extent in mm when it is turned."""
    recipe = VolumeRecipe((41, 41, 21), (1.0, 1.0, 2.0))
    image = torch.zeros(1, 41, 41, 21)
    image[0, 10:31, 18:23, 8:13] = 1.0  # 21 x 5 x 10 mm
    turned = changed(ImageChanges(chance=1, rotation=90, scale=0, shift=0, brightness=0, contrast=0), image, 3, recipe)[0]
    places = torch.nonzero(turned > 0.5).float() * torch.tensor(recipe.spacing)
    spread = torch.linalg.eigvalsh(torch.cov(places.T)).sqrt() * 12**0.5
    assert spread == pytest.approx([5, 10, 21], abs=1.5)


@pytest.mark.parametrize(("seed", "same"), [(7, True), (8, False)])
def test_the_same_seed_gives_the_same_changes(seed: int, same: bool) -> None:
    assert torch.equal(changed(ImageChanges(chance=1), seed=7), changed(ImageChanges(chance=1), seed=seed)) == same


def test_by_default_what_is_on_the_left_stays_on_the_left_and_nearby() -> None:
    places = []
    for seed in range(40):
        out = changed(ImageChanges(), seed=seed)
        assert torch.isfinite(out).all()
        places.append(torch.nonzero(out[0] > 0).float().mean(0))
    away = torch.stack(places) - torch.tensor([3.5, 11.5, 11.5])
    assert away.abs().max() < 5  # voxels
    assert away.abs().max() > 0.5


@pytest.mark.parametrize(("side", "axis"), [("left_right", 1), ("back_front", 2), ("foot_head", 3)])
def test_sides_change_places_only_when_asked(side, axis: int) -> None:  # type: ignore[no-untyped-def]
    image = torch.rand(1, 24, 24, 24)
    only = ImageChanges(chance=1, rotation=0, scale=0, shift=0, brightness=0, contrast=0, flip=(side,))
    assert torch.allclose(changed(only, image), image.flip(axis), atol=1e-4)
    assert torch.equal(changed(STILL, image), image)


def test_a_crop_enlarges_what_is_left_and_stays_inside() -> None:
    only = ImageChanges(chance=1, rotation=0, scale=0, shift=0, crop=0.5, brightness=0, contrast=0)
    ramp = torch.linspace(-500, 500, 24)[None, :, None, None].expand(1, 24, 24, 24)
    steps = [changed(only, ramp, seed)[0, :, 12, 12].diff() for seed in range(8)]
    for step in steps:
        assert step.std() < 1e-2  # still a ramp: nothing from beyond the border
        assert 0.5 * 1000 / 23 - 1e-2 <= float(step.mean()) <= 1000 / 23 + 1e-2
    assert min(float(s.mean()) for s in steps) < 0.8 * 1000 / 23


def test_noise_and_grey_levels_have_their_size() -> None:
    image = torch.zeros(1, 24, 24, 24)  # window -1000 to 600
    noisy = changed(ImageChanges(chance=0, brightness=0, contrast=0, noise=0.05), image)
    assert float(noisy.std()) == pytest.approx(0.05 * 1600, rel=0.05)
    shifted = [float(changed(ImageChanges(chance=0, contrast=0, brightness=0.1), image, s).mean()) for s in range(50)]
    assert -160 <= min(shifted) < -80 < 80 < max(shifted) <= 160
    middle = changed(ImageChanges(chance=0, brightness=0, contrast=0.5), torch.full_like(image, -200.0))
    assert torch.allclose(middle, torch.tensor(-200.0))


def test_slices_that_are_dropped_show_air_whole() -> None:
    out = changed(ImageChanges(chance=0, brightness=0, contrast=0, slice_dropout=0.5), torch.full((1, 24, 24, 24), 50.0))
    kinds = [set(out[..., k].flatten().tolist()) for k in range(24)]
    assert all(kind in ({50.0}, {-1000.0}) for kind in kinds)
    assert 4 <= sum(kind == {-1000.0} for kind in kinds) <= 20


def test_images_of_one_study_move_alike() -> None:
    out = changed(ImageChanges(chance=1, noise=0), marked_left().repeat(3, 1, 1, 1))
    assert torch.equal(out[0], out[1])
    assert torch.equal(out[0], out[2])


def test_a_picture_stays_flat_and_in_its_plane() -> None:
    image = torch.rand(1, 24, 20, 1) * 255
    for seed in range(10):
        out = changed(ImageChanges(chance=1, crop=0.2), image, seed, PICTURE)
        assert out.shape == (1, 24, 20, 1)
        assert float(out.std()) > 10  # not one grey: it did not leave its plane
