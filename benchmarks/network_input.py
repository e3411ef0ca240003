"""How long a CT takes from voxels to network input: medmm's one resampling against MONAI's chain of transforms.

    python benchmarks/network_input.py

Both get the same 300 x 512 x 512 int16 volume in LPS and must give the same windowed grid in RAS; the target
spacing is chosen so that both place their voxels alike. Medians of alternating runs in one process, one thread
each: with more, a busy machine measures how long threads wait for each other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientation, ResizeWithPadOrCrop, ScaleIntensityRange, Spacing

from medmm.geometry import Grid
from medmm.study import Volume
from medmm.transforms.volume import VolumeRecipe, resample, to_channels

SHAPE, SPACING = (512, 512, 300), (0.7, 0.7, 1.0)
TARGET_SHAPE, TARGET_SPACING = (224, 224, 128), (0.7 * 511 / 255, 0.7 * 511 / 255, 299 / 149)
WINDOW = (-1000.0, 600.0)
RUNS = 9


def main() -> None:
    """Print seconds, ratios and the largest difference."""
    torch.set_num_threads(1)
    volume = _scan()
    monai_source = MetaTensor(torch.from_numpy(np.ascontiguousarray(volume.array)), affine=torch.from_numpy(volume.grid.affine))
    chain = Compose([
        Orientation("RAS", labels=None),
        Spacing(TARGET_SPACING, mode="bilinear", padding_mode="border"),
        ScaleIntensityRange(*WINDOW, -1.0, 1.0, clip=True),
        ResizeWithPadOrCrop(TARGET_SHAPE, value=-1.0),
    ])  # fmt: skip
    ways = {
        "MONAI chain": lambda: chain(monai_source).as_tensor(),
        "medmm, plain linear": lambda: _ours(volume, antialias=False),
        "medmm, antialiased": lambda: _ours(volume, antialias=True),
        "medmm, antialiased, bf16 out": lambda: _ours(volume, antialias=True).bfloat16(),
    }
    outputs = {name: way() for name, way in ways.items()}  # also warms up
    seconds = _alternate(ways)
    theirs = outputs["MONAI chain"]
    print(f"{'':30} {'seconds':>8} {'times faster':>13} {'max difference':>15}   (of the window's -1 to 1)")
    for name, taken in seconds.items():
        difference = (outputs[name].float() - theirs.float()).abs().max().item()
        print(f"{name:30} {taken:8.3f} {seconds['MONAI chain'] / taken:13.1f} {difference:15.5f}")
    print("Antialiasing averages finer voxels instead of picking among them: another, smoother picture by design.")


def _scan() -> Volume:
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.normal(0, 400, (1, 1, 24, 24, 16)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, SHAPE, mode="trilinear", align_corners=True)[0, 0].numpy()
    noisy = np.clip(smooth + rng.normal(0, 20, SHAPE), -1000, 2000)
    stored = np.ascontiguousarray(np.rint(noisy).astype(np.int16).T)  # (K, J, I), as DICOM slices lie in memory
    return Volume(stored.T[None], Grid(SHAPE, np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])), "HU", "CT")


def _ours(volume: Volume, *, antialias: bool) -> torch.Tensor:
    recipe = VolumeRecipe(TARGET_SHAPE, TARGET_SPACING, (WINDOW,), antialias=antialias)
    grid, _ = resample(volume, recipe)
    return to_channels(grid.as_tensor()[None], recipe.windows)[0]


def _alternate(ways: dict[str, Callable[[], torch.Tensor]]) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


if __name__ == "__main__":
    main()
