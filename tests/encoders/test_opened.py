"""Open CT encoders: their input on a marked phantom, their networks on weights of the published names and shapes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch
from torch.nn import functional
from typer.testing import CliRunner

from medmm.cli import app
from medmm.encoders import ENCODERS
from medmm.encoders.opened import CONTRACTS, Merlin
from medmm.errors import TaskError
from medmm.geometry import Grid, lps_to_ras
from medmm.study import Study, Volume
from medmm.training.config import checked
from medmm.transforms.volume import VolumeRecipe

BLOCKS = (3, 8, 36, 3)
MARK_MM = np.array([60.0, -45.0, 80.0])  # to the right, behind and above the centre
SIDE = 12.0


def marked(axes: str) -> Volume:
    """A body with a bright cube off its centre, stored along these axes with its own spacing."""
    spacing, count = np.array([1.7, 2.1, 2.6]), np.array([170, 140, 120])
    places, signs = ["RAS".index({"L": "R", "P": "A", "I": "S"}.get(a, a)) for a in axes], [1 if a in "RAS" else -1 for a in axes]
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (place, sign) in enumerate(zip(places, signs, strict=True)):
        affine[place, axis] = sign * spacing[axis]
    affine[:3, 3] = -affine[:3, :3] @ ((count - 1) / 2)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in count), indexing="ij"), axis=-1)
    away = index @ affine[:3, :3].T + affine[:3, 3]
    array = np.where((np.abs(away) < 150).all(-1), 0, -1000).astype(np.int16)
    array[(np.abs(away - MARK_MM) <= SIDE / 2).all(-1)] = 3000
    return Volume(array[None], Grid(tuple(int(n) for n in count), affine), "HU", "CT")


def expected_place(name: str) -> np.ndarray:
    """Where the centre of the mark belongs in the tensor, from the published recipe alone."""
    shape, spacing = {
        "merlin": ((160, 224, 224), (3.0, 1.5, 1.5)),
        "ct_clip": ((240, 480, 480), (1.5, 0.75, 0.75)),
        "colipri": ((192, 192, 192), (2.0, 2.0, 2.0)),
    }[name]
    towards = {"merlin": "SRA", "ct_clip": "SLP", "colipri": "RAS"}[name]
    ras = dict(zip("RAS", MARK_MM, strict=True)) | dict(zip("LPI", -MARK_MM, strict=True))
    return np.array([(n - 1) / 2 + ras[axis] / mm for n, axis, mm in zip(shape, towards, spacing, strict=True)])


@pytest.mark.parametrize(
    ("name", "stored"), [("merlin", "RAS"), ("merlin", "SAL"), ("ct_clip", "LPS"), ("colipri", "LPS"), ("colipri", "SAL")]
)
def test_a_mark_lands_where_the_published_recipe_has_it(name: str, stored: str) -> None:
    contract = CONTRACTS[name]
    read, _ = contract.recipe.read(Study((marked(stored),)))
    tensor = contract.arrange(*contract.recipe.stack([read]))[0, 0].numpy()
    bright = np.argwhere(tensor > contract.scale[0] + 0.9 * (contract.scale[1] - contract.scale[0]))
    spacing = [contract.recipe.spacing["RAS".index({"L": "R", "P": "A"}.get(axis, axis))] for axis in contract.axes]
    np.testing.assert_array_less(np.abs(bright.mean(0) - expected_place(name)) * spacing, 1.3)  # mm: half a voxel as stored
    assert tensor.min() == pytest.approx(contract.scale[0], abs=1e-5)
    assert tensor.max() == pytest.approx(contract.scale[1], abs=1e-5)
    assert tensor[0, 0, 0] == pytest.approx(contract.scale[0], abs=1e-5)  # what lies beyond the scan is air
    middle = tuple(n // 2 for n in tensor.shape)
    assert tensor[middle] == pytest.approx(sum(contract.scale) / 2, abs=1e-5)  # water


@pytest.mark.parametrize(("darkest", "expected"), [(-150, -0.15), (-1024, -1.0)])
@pytest.mark.parametrize("turned", [False, True])
def test_colipri_pads_with_the_least_value_of_the_scan_within_its_window(darkest: int, expected: float, turned: bool) -> None:
    """A scan of the inside of a body has no air in it; numpy's own padding by the minimum says what is expected."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    if turned:
        c, s = np.cos(0.2), np.sin(0.2)
        affine[:2, :2] = 2.0 * np.array([[c, -s], [s, c]])
    array = np.full((96, 96, 96), 60, np.int16)
    array[20:40, 30:60, 40:50] = darkest
    contract = CONTRACTS["colipri"]
    read, _ = contract.recipe.read(Study((Volume(array[None], Grid((96, 96, 96), affine), "HU", "CT"),)))
    tensor = contract.arrange(*contract.recipe.stack([read]))[0, 0].numpy()
    assert tensor[0, 0, 0] == tensor[-1, -1, -1] == pytest.approx(expected, abs=1e-6)
    if not turned:
        scaled = np.clip(array, -1000, 1000) / 1000
        np.testing.assert_allclose(tensor, np.pad(scaled, 48, constant_values=scaled.min()), atol=1e-5)


def resampled_by_simpleitk(volume: Volume, spacing: float) -> np.ndarray:
    """The whole scan at another spacing along its own axes, about the same middle and within it: what the publishers pad."""
    axes = lps_to_ras(volume.grid.affine)
    image = SimpleITK.GetImageFromArray(volume.array[0].astype(np.float32).transpose(2, 1, 0))
    image.SetSpacing(volume.grid.spacing)
    image.SetDirection((axes[:3, :3] / volume.grid.spacing).ravel().tolist())
    image.SetOrigin(axes[:3, 3].tolist())
    size = np.floor(np.array(volume.grid.shape) * image.GetSpacing() / spacing).astype(int)
    middle = image.TransformContinuousIndexToPhysicalPoint(((np.array(volume.grid.shape) - 1) / 2).tolist())
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetOutputDirection(image.GetDirection())
    resampler.SetOutputSpacing([spacing] * 3)
    resampler.SetSize(size.tolist())
    resampler.SetOutputOrigin((middle - np.reshape(image.GetDirection(), (3, 3)) @ ((size - 1) / 2 * spacing)).tolist())
    found: np.ndarray = SimpleITK.GetArrayFromImage(resampler.Execute(image)).transpose(2, 1, 0)
    return found


@pytest.mark.parametrize("angle", [0.0, 0.004, 0.3])
@pytest.mark.parametrize("spacing", [(0.8, 0.7, 1.3), (0.977, 0.977, 5.0)])
def test_colipri_pads_with_the_least_value_of_the_resampled_scan(angle: float, spacing: tuple[float, float, float]) -> None:
    """A single dark voxel, as of a streak, is blurred before it can be the least; what the window leaves unread counts too."""
    affine, count = np.zeros((4, 4)), (150, 140, 400 if spacing[2] < 2 else 50)
    affine[3, 3] = 1.0
    c, s = np.cos(angle), np.sin(angle)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([-1.0, -1.0, 1.0]) @ np.diag(spacing)
    array = np.random.default_rng(0).normal(60, 40, count).astype(np.int16)
    array[70:73, 80, 30] = -900
    array[20:40, 20:40, :2] = -300
    volume = Volume(array[None], Grid(count, affine), "HU", "CT")
    contract = CONTRACTS["colipri"]
    read, _ = contract.recipe.read(Study((volume,)))
    tensor = contract.arrange(*contract.recipe.stack([read]))[0, 0].numpy()
    expected = resampled_by_simpleitk(volume, 2.0).min()
    assert array.min() < expected - 100
    assert tensor[0, 0, 96] * 1000 == pytest.approx(expected, abs=0.02)  # HU


def test_merlins_input_is_that_of_its_own_chain_of_transforms() -> None:
    from monai.data import MetaTensor
    from monai.transforms import CenterSpatialCrop, Compose, Orientation, ScaleIntensityRange, Spacing, SpatialPad

    size = (224, 224, 160)
    chain = Compose([
        Orientation("RAS", labels=None), Spacing((1.5, 1.5, 3.0), mode="bilinear"),
        ScaleIntensityRange(-1000, 1000, 0.0, 1.0, clip=True), SpatialPad(size), CenterSpatialCrop(size),
    ])  # fmt: skip
    volume = marked("LPS")
    peer = chain(MetaTensor(torch.from_numpy(volume.array).float(), affine=torch.from_numpy(volume.grid.affine)))[0].numpy()
    contract = CONTRACTS["merlin"]
    ours = contract.arrange(*contract.recipe.stack([contract.recipe.read(Study((volume,)))[0]]))[0, 0].permute(1, 2, 0).numpy()
    assert ours.shape == peer.shape
    centres = [np.argwhere(x > 0.9).mean(0) for x in (ours, peer)]
    np.testing.assert_allclose(*centres, atol=1.0)  # grids that differ by up to a voxel, never by an axis
    assert np.abs(ours - peer).mean() < 0.01


def published(prefix: str = "encode_image.i3_resnet.") -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes in Merlin's published layout, from the rule of a ResNet-152 and what inflating does to it."""

    def norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield from ((f"{prefix}{name}.{part}", (channels,)) for part in ("weight", "bias", "running_mean", "running_var"))
        yield f"{prefix}{name}.num_batches_tracked", ()

    yield f"{prefix}conv1.weight", (64, 3, 3, 7, 7)
    yield from norm("bn1", 64)
    entering = 64
    for stage, (count, width) in enumerate(zip(BLOCKS, (64, 128, 256, 512), strict=True), 1):
        for block in range(count):
            at = f"layer{stage}.{block}"
            yield f"{prefix}{at}.conv1.weight", (width, entering, 1, 1, 1)
            yield f"{prefix}{at}.conv2.weight", (width, width, 3, 3, 3)
            yield f"{prefix}{at}.conv3.weight", (4 * width, width, 1, 1, 1)
            for part, channels in (("bn1", width), ("bn2", width), ("bn3", 4 * width)):
                yield from norm(f"{at}.{part}", channels)
            if block == 0:
                yield f"{prefix}{at}.downsample.0.weight", (4 * width, entering, 1, 1, 1)
                yield from norm(f"{at}.downsample.1", 4 * width)
            entering = 4 * width
    for head, channels in (("classifier", 1692), ("contrastive_head", 512)):
        yield f"{prefix}{head}.weight", (channels, 2048, 1, 1, 1)
        yield f"{prefix}{head}.bias", (channels,)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    made = {}
    for name, shape in published():
        if name.endswith("num_batches_tracked"):
            made[name] = torch.tensor(7)
        elif name.endswith("running_var") or (".bn" in name and name.endswith("weight")):
            made[name] = torch.rand(shape) * 0.5 + 0.75
        else:
            fan = float(np.prod(shape[1:])) or 1.0
            made[name] = torch.randn(shape) * (2 / fan) ** 0.5 if len(shape) > 1 else torch.randn(shape) * 0.1
    made["encode_text.linear_layer.weight"] = torch.randn(512, 768)
    made["logit_scale"] = torch.tensor(1.0)
    return made


def by_hand(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Merlin's image embedding of (B, 3, S, R, A), one operation after the other."""

    def get(name: str) -> torch.Tensor:
        return state["encode_image.i3_resnet." + name]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.batch_norm(x, *(get(f"{name}.{part}") for part in ("running_mean", "running_var", "weight", "bias")))

    x = functional.conv3d(x, get("conv1.weight"), stride=(1, 2, 2), padding=(1, 3, 3))
    x = functional.max_pool3d(norm(x, "bn1").relu(), 3, stride=2, padding=1)
    for stage, count in enumerate(BLOCKS, 1):
        for block in range(count):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = norm(functional.conv3d(x, get(f"{at}.conv1.weight")), f"{at}.bn1").relu()
            y = norm(functional.conv3d(y, get(f"{at}.conv2.weight"), stride=stride, padding=1), f"{at}.bn2").relu()
            y = norm(functional.conv3d(y, get(f"{at}.conv3.weight")), f"{at}.bn3")
            if block == 0:
                x = norm(functional.conv3d(x, get(f"{at}.downsample.0.weight"), stride=stride), f"{at}.downsample.1")
            x = (x + y).relu()
    return x.mean((2, 3, 4))


def test_merlin_loads_the_published_layout_and_computes_its_embedding(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "merlin.pt")
    encoder = Merlin(CONTRACTS["merlin"].recipe).eval()
    encoder.load_pretrained(str(tmp_path / "merlin.pt"))
    image = torch.rand(1, 1, 48, 40, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        encoded = encoder(image)
        network = ((image + 1) / 2).permute(0, 1, 4, 2, 3).expand(-1, 3, -1, -1, -1)
        expected = by_hand(weights, network)
    assert encoded.pooled.shape == (1, 2048) == (1, encoder.out_features)
    torch.testing.assert_close(encoded.pooled, expected, rtol=1e-3, atol=1e-4)


def test_what_are_not_merlins_weights_is_refused(tmp_path: Path) -> None:
    encoder = Merlin(CONTRACTS["merlin"].recipe, blocks=(1, 1, 1, 1))
    torch.save({"i3_resnet.conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "flat.pt")
    with pytest.raises(TaskError, match="missing or of another shape"):
        encoder.load_pretrained(str(tmp_path / "flat.pt"))
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (ran,)

    (tmp_path / "SECRET.pt").write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(TaskError, match="tensors alone") as caught:
        encoder.load_pretrained(str(tmp_path / "SECRET.pt"))
    assert not ran.exists()
    assert "SECRET" not in caught.value.message
    with pytest.raises(TaskError, match="recipe that merlin was trained on"):
        Merlin(VolumeRecipe((32, 32, 32), (2.0, 2.0, 2.0)))


def test_a_source_is_refused_for_an_encoder_without_published_weights() -> None:
    with pytest.raises(TaskError, match="no image_source"):
        checked({"image_source": "weights.pt"})
    assert checked({"image_source": "weights.pt", "image_encoder": "merlin"}).source("image") == "weights.pt"


def test_the_contracts_are_listed_with_what_was_verified() -> None:
    listed = json.loads(CliRunner().invoke(app, ["models", "ls", "--encoders", "--json"]).stdout)
    assert [entry["name"] for entry in listed] == list(CONTRACTS)
    assert {entry["name"] for entry in listed} <= set(ENCODERS["image"])
    text = CliRunner().invoke(app, ["models", "ls", "--encoders"]).stdout
    assert all(entry["verified"] in text and entry["weights"]["licence"] in text for entry in listed)
    assert text.count("Nothing was tried with the real weights") == 3
