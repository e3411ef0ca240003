"""Image encoders beside one another: how fast, how near to the machine's matrix rate, in what memory, how accurate.

    python benchmarks/image_encoders.py OUT speed --side 96 --minutes 10
    python benchmarks/image_encoders.py OUT accuracy --patients 1200 --epochs 10 --learning-rates 0.002,0.0005

`speed`: one thread and the processor time it took, which a busy machine changes little; rounds over all networks and
the matrix product alternate in one process, medians. Rates count the floating-point operations of matrix products and
convolutions alone. Peak memory is that of a process of its own beyond what it held before.
`accuracy`: image-only classifiers of a phantom cohort, the same split, epochs and seeds for all and no augmentation; the
log-loss of the validation side chooses each network's learning rate. 95 % intervals of differences in AUROC resample
the test patients, paired. The last column is what autocast to bfloat16, as training uses it, does to a probability.
Writes `speed` or `accuracy` as `.json` and `.md`, and prints the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch.utils.flop_counter import FlopCounterMode

from medmm.encoders import ENCODERS
from medmm.inference import Predictor
from medmm.sources.cohort import read_cohort
from medmm.sources.phantom import make_phantom
from medmm.sources.phantom.truth import Table
from medmm.training import TrainConfig, train
from medmm.training.compute import thin_in_float32
from medmm.training.data import cache_samples
from medmm.transforms.volume import VolumeRecipe

RESNET_18 = {"widths": [64, 128, 256, 512], "blocks": [2, 2, 2, 2], "stem": 7}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "MONAI ResNet-18": ("resnet", RESNET_18),
    "MONAI DenseNet-121": ("densenet", {}),
    "resnet": ("resnet", {}),
    "patch": ("patch", {}),
    "patch, cubes of 8": ("patch", {"patch": 8, "widths": [96, 192]}),
}
REFERENCE_LAST = sorted(NETWORKS, key="resnet".__eq__)
LABELS = ("negative", "positive")
TRAINED_AT_ONCE = 2  # norms that average batches do so from two images on
RESAMPLES = 2000


def network(name: str, side: int) -> Any:
    """One of the networks for cubes of one window, with random weights."""
    torch.manual_seed(0)
    kind, options = NETWORKS[name]
    return ENCODERS["image"].get(kind)(VolumeRecipe((side,) * 3, (2.0,) * 3, ((-1000.0, 600.0),)), **options)


def forward(net: Any, image: torch.Tensor) -> Callable[[], None]:
    """One study answered."""

    def run() -> None:
        net.eval()
        with torch.inference_mode():
            net(image)

    return run


def step(net: Any, images: torch.Tensor) -> Callable[[], None]:
    """Loss and gradients of a batch, without the optimiser, which costs all alike."""

    def run() -> None:
        net.train()
        net.zero_grad()
        net(images).pooled.square().mean().backward()

    return run


def ways_of(name: str, side: int) -> dict[str, tuple[int, Callable[[], None]]]:
    """Studies and what is done to them."""
    net, images = network(name, side), torch.randn(TRAINED_AT_ONCE, 1, side, side, side)
    return {"forward": (1, forward(net, images[:1])), "training step": (TRAINED_AT_ONCE, step(net, images))}


def in_type(dtype: torch.dtype, way: Callable[[], None]) -> None:
    """Run under autocast, or plainly in float32."""
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        way()


def seconds_of(way: Callable[[], object]) -> float:
    """Processor time of one call."""
    began = time.process_time()
    way()
    return time.process_time() - began


def operations_of(way: Callable[[], None]) -> int:
    """Floating-point operations of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        way()
    return int(counter.get_total_flops())


def peak_of(name: str, side: int) -> int:
    """Bytes beyond those held before, at the worst moment of one float32 training step."""
    way = ways_of(name, side)["training step"][1]
    before = psutil.Process().memory_info().rss
    way()
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    return peak - before


def measure_speed(side: int, minutes: float) -> dict[str, Any]:
    """Every network forward and in training, in float32 and bfloat16, beside a matrix product of each type."""
    torch.set_num_threads(1)
    with get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        peaks = dict(zip(NETWORKS, pool.starmap(peak_of, [(name, side) for name in NETWORKS], chunksize=1), strict=True))
    types = {"fp32": torch.float32, "bf16": torch.bfloat16}
    squares = {key: torch.randn(1024, 1024).to(dtype) for key, dtype in types.items()}
    ways = {name: ways_of(name, side) for name in NETWORKS}
    counted = {(n, w): operations_of(ways[n][w][1]) for n in ways for w in ways[n]}  # warms up too
    jobs = [(n, w, t) for n in ways for w in ways[n] for t in types]
    taken: dict[Any, list[float]] = {}
    rounds, end = 0, time.monotonic() + 60 * minutes
    while rounds < 1 or time.monotonic() < end:
        rounds += 1
        for key, square in squares.items():
            taken.setdefault(key, []).append(min(seconds_of(lambda a=square: a @ a) for _ in range(3)))
        for name, what, key in jobs:
            way = ways[name][what][1]
            taken.setdefault((name, what, key), []).append(seconds_of(lambda w=way, t=types[key]: in_type(t, w)))
        print(f"round {rounds}", file=sys.stderr, flush=True)
    half = {key: 2 * 1024**3 / median(taken[key]) / 1e9 for key in types}
    rows = []
    for name, what, key in jobs:
        seconds = median(taken[name, what, key])
        rate = counted[name, what] / seconds / 1e9
        rows.append({"network": name, "what": what, "precision": key, "studies_per_second": ways[name][what][0] / seconds,
                     "gflops": rate, "of_bf16_matrix_rate": rate / half["bf16"]})  # fmt: skip
    return {"side": side, "rounds": rounds, "machine": machine(), "matrix_gflops": half,
            "peak_training_mb": {n: p / 2**20 for n, p in peaks.items()}, "rows": rows}  # fmt: skip


def machine() -> dict[str, Any]:
    """What decides how fast it is."""
    return {"cores": os.cpu_count(), "load": os.getloadavg()[0], "amx": torch.cpu._is_amx_tile_supported(),
            "avx512_bf16": torch.cpu._is_avx512_bf16_supported(), "torch": torch.__version__,
            "architecture": platform.machine()}  # fmt: skip


def speed_table(found: dict[str, Any]) -> list[str]:
    """Markdown; ratios are to MONAI ResNet-18 in float32."""
    base = {row["what"]: row["studies_per_second"] for row in found["rows"] if row["precision"] == "fp32"
            and row["network"] == "MONAI ResNet-18"}  # fmt: skip
    lines = [
        f"{found['side']}^3, one thread, medians of {found['rounds']} rounds; matrix product {found['matrix_gflops']['fp32']:.0f} "
        f"GFLOP/s fp32, {found['matrix_gflops']['bf16']:.0f} bf16; AMX: {'yes' if found['machine']['amx'] else 'no'}; "
        f"load at the end {found['machine']['load']:.1f}.", "",
        "| network | | precision | studies/s | times ResNet-18 fp32 | GFLOP/s | of the bf16 matrix rate | peak MB in training |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in found["rows"]:
        times, peak = row["studies_per_second"] / base[row["what"]], found["peak_training_mb"][row["network"]]
        lines.append(
            f"| {row['network']} | {row['what']} | {row['precision']} | {row['studies_per_second']:.2f} | {times:.2f} | "
            f"{row['gflops']:.0f} | {row['of_bf16_matrix_rate']:.2f} | {peak:.0f} |"
        )
    return lines


def measure_accuracy(out: Path, names: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """Train every network on the phantom's images, at the rate that validation prefers, and test it."""
    torch.set_num_threads(1)
    contest = Contest(out / "runs", given)
    losses = {name: {rate: contest.loss(name, rate) for rate in given.learning_rates} for name in names}
    rates = {name: min(found, key=found.__getitem__) for name, found in losses.items()}
    answers: dict[str, list[np.ndarray]] = {name: [] for name in names}
    rounding = dict.fromkeys(names, 0.0)
    for name, rate in rates.items():
        for seed in range(given.seeds):
            full = contest.answers(name, rate, seed, "test")
            rounded = contest.answers(name, rate, seed, "test", torch.bfloat16)
            rounding[name] = max(rounding[name], float(np.abs(rounded - full).max()))
            answers[name].append(full)
    rows = compared(contest.truth("test"), answers, names[-1])
    for row in rows:
        name = row["network"]
        row |= {"learning_rate": rates[name], "validation_log_loss": losses[name], "largest_change_in_bf16": rounding[name]}
    stated = ("patients", "table", "voxels", "epochs", "batch_size", "seeds", "precision")
    limit = contest.law.limits(frozenset({"image"}))["auroc"]
    return {**{key: getattr(given, key) for key in stated}, "test": len(contest.truth("test")), "limit": limit, "rows": rows}


class Contest:
    """A phantom on whose images every network is trained alike; what was trained is kept and found again."""

    def __init__(self, runs: Path, given: argparse.Namespace) -> None:
        self.runs, self.given, self.law = runs, given, Table.from_text(given.table)
        self.path = runs / f"phantom-{given.patients}-{given.table}" / "cohort.csv"
        if not self.path.exists():
            make_phantom(self.path.parent, given.patients, seed=17, table=self.law, matrix=48, image_format="nifti")
        self.cohort = read_cohort(self.path, labels=LABELS)

    def truth(self, side: str) -> np.ndarray:
        """1 for every positive patient of a side."""
        return np.array([case.target[1] for case in self.cohort.with_split(side)])

    def loss(self, name: str, rate: float) -> float:
        """Log-loss on the validation side."""
        found = float(log_loss(self.truth("val"), self.answers(name, rate, 0, "val")))
        print(f"{name}, learning rate {rate:g}: validation log-loss {found:.3f}", file=sys.stderr, flush=True)
        return found

    def answers(self, name: str, rate: float, seed: int, side: str, dtype: torch.dtype = torch.float32) -> np.ndarray:
        """Calibrated probability of each patient of a side, plainly or under autocast."""
        predictor, cases = self.trained(name, rate, seed), self.cohort.with_split(side)
        samples = cache_samples(cases, predictor.folder.preprocessor, self.runs / "cache", lambda *_: None)[1]
        low = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
        with thin_in_float32(predictor.folder.model, torch.device("cpu"), dtype), low:
            answers = [predictor.answer(sample)[1] for sample in samples]
        assert all(answer.calibrated for answer in answers)
        return np.array([answer.probabilities[LABELS[1]] for answer in answers])

    def trained(self, name: str, rate: float, seed: int) -> Predictor:
        """The network after all its epochs, with the weights of the best."""
        (kind, options), given = NETWORKS[name], self.given
        config = TrainConfig(
            modalities=("image",), image_encoder=kind, encoder_options={"image": options}, voxels=given.voxels, width=64,
            epochs=given.epochs, patience=given.epochs, batch_size=given.batch_size, learning_rate=rate, seed=seed, split_seed=0,
            precision=given.precision, augment=False, tracker="none",
        )  # fmt: skip

        def say(epoch: int, row: dict[str, float]) -> None:
            print(f"{name}, learning rate {rate:g}, epoch {epoch}: {row['val/loss']:.3f}", file=sys.stderr, flush=True)

        out = self.runs / f"{name} {rate:g} {given.precision} {seed}"
        train(self.path, out, config, labels=LABELS, cache=self.runs / "cache", on_epoch=say)
        return Predictor.load(out, "cpu")


def compared(truth: np.ndarray, answers: dict[str, list[np.ndarray]], reference: str) -> list[dict[str, Any]]:
    """Mean AUROC over seeds, and how much more `reference` has, over the same resampled patients."""
    rng = np.random.default_rng(0)
    draws = [rows for rows in rng.integers(len(truth), size=(RESAMPLES, len(truth))) if 0 < truth[rows].mean() < 1]

    def area(name: str, rows: Any) -> float:
        return float(np.mean([roc_auc_score(truth[rows], p[rows]) for p in answers[name]]))

    areas = {name: np.array([area(name, rows) for rows in draws]) for name in answers}
    everyone, result = np.arange(len(truth)), []
    for name, theirs in areas.items():
        (low, high), (less, more) = (np.quantile(values, [0.025, 0.975]) for values in (theirs, areas[reference] - theirs))
        result.append({"network": name, "auroc": area(name, everyone), "auroc_low": float(low), "auroc_high": float(high),
                       "reference": reference, "difference": area(reference, everyone) - area(name, everyone),
                       "low": float(less), "high": float(more)})  # fmt: skip
    return result


def accuracy_table(found: dict[str, Any]) -> list[str]:
    """Markdown."""
    reference = found["rows"][0]["reference"]
    lines = [
        f"Phantom of {found['patients']} patients ({found['test']} of test), images alone, {found['voxels']} voxels, "
        f"{found['epochs']} epochs in batches of {found['batch_size']}, {found['seeds']} seed(s), {found['precision']}. "
        f"The best possible AUROC is {found['limit']:.3f}. Learning rates by the log-loss on the validation side.", "",
        f"| network | learning rate | AUROC (95 % interval) | `{reference}` minus it | largest change of a probability in bf16 |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for row in found["rows"]:
        gap = "" if row["network"] == reference else f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        own = f"{row['auroc']:.3f} ({row['auroc_low']:.3f} to {row['auroc_high']:.3f})"
        lines.append(f"| {row['network']} | {row['learning_rate']:g} | {own} | {gap} | {row['largest_change_in_bf16']:.4f} |")
    return lines


def numbers(text: str) -> tuple[float, ...]:
    """`0.002,0.0005`."""
    return tuple(float(part) for part in text.split(","))


def main() -> None:
    """Measure what was asked for, write and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("what", choices=("speed", "accuracy"))
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--minutes", type=float, default=10.0, help="of rounds of speed, at least one")
    parser.add_argument("--networks", default=";".join(REFERENCE_LAST), help="of accuracy; the others are compared with the last")
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--table", default="0.02,0.02,0.98,0.98", help="law of the phantom; by default the image alone decides")
    parser.add_argument("--voxels", type=int, default=32**3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rates", type=numbers, default=(2e-3,), help="the validation side chooses one a network")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.what == "speed":
        found = measure_speed(given.side, given.minutes)
        lines = speed_table(found)
    else:
        found = measure_accuracy(given.out, given.networks.split(";"), given)
        lines = accuracy_table(found)
    found = {"command": " ".join(["python benchmarks/image_encoders.py OUT", *sys.argv[2:]]), **found}
    lines = [f"`{found['command']}`", "", *lines]
    for ending, text in (("json", json.dumps(found, indent=2)), ("md", "\n".join(lines))):
        (given.out / f"{given.what}.{ending}").write_text(text + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
