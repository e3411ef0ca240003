"""Does pretraining without labels help when few labels are there? Paired over seeds, on a phantom whose limits are known.

    python benchmarks/pretraining.py OUT --kind chest --modalities text
    python benchmarks/pretraining.py OUT --kind pictures --modalities image+text --patients 3000

For each seed encoders are pretrained on all patients of train and val without their labels; then classifiers are trained
on a tenth of these labels, once from the pretrained encoders and once from scratch, with the same choices, and on all
labels from scratch, the ceiling. A seed has its own tenth and its own initialisation. All are measured on the same test
patients, whom none of them saw, beside the class frequencies of the tenth and the best that any model can do.
The choices below were made on cohorts of other seeds than `--cohort-seed`'s default. Writes KIND-MODALITIES.json and .md
and prints the table; what is finished is not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

import medmm
from medmm.inference import Predictor
from medmm.metrics import Scores, decide, point
from medmm.sources.cohort import Case, Cohort, read_cohort
from medmm.sources.phantom import make_phantom
from medmm.sources.phantom.pictures import make_pictures
from medmm.training import train
from medmm.training.config import checked
from medmm.training.data import cache_samples
from medmm.training.pretrain import Aims, pretrain
from medmm.types import AnyArray, FloatArray, Kind

OBJECTIVES = {"image": "masked_image", "text": "halves", "image+text": "infonce"}
ROWS = {"pretrained": "pretrained, a tenth of the labels", "scratch": "from scratch, a tenth of the labels",
        "all_labels": "from scratch, all labels", "frequencies": "class frequencies"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Phantom:
    """What is asked of a kind of phantom.

    Attributes:
        kind, labels, metrics: Of the task.
        voxels: Of a network input.
    """

    kind: Kind
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    voxels: int


PHANTOMS = {
    "chest": Phantom("binary", ("negative", "positive"), ("f1_macro", "auroc", "brier", "log_loss"), 24**3),
    "pictures": Phantom(
        "multiclass", ("alpha", "beta", "gamma", "delta", "epsilon"), ("f1_macro", "auroc_macro", "brier", "log_loss"), 48**2
    ),
}
_TURNED = {
    "chance": 1.0, "rotation": 180.0, "scale": 0.15, "shift": 6.0, "flip": ("left_right",), "contrast": 0.2, "brightness": 0.1,
}  # fmt: skip
CHOICES: dict[str, dict[str, dict[str, Any]]] = {
    "chest": {
        "common": {"max_tokens": 96, "width": 32},
        "pretraining": {"epochs": 20, "batch_size": 64, "encoder_options": {"text": {"dropout": 0.1, "token_dropout": 0.1}}},
        "training": {
            "epochs": 30, "patience": 30, "batch_size": 16, "encoder_options": {"text": {"dropout": 0.4, "token_dropout": 0.3}},
        },
        "all_labels": {"batch_size": 32},
    },
    "pictures": {
        "common": {"max_tokens": 64, "width": 32, "learning_rate": 4e-3, "augmentation": {"image": _TURNED}},
        "pretraining": {"epochs": 40, "batch_size": 64},
        "training": {"epochs": 40, "patience": 40, "batch_size": 16},
        "all_labels": {"batch_size": 32},
    },
}  # fmt: skip
"""Of every run, of either kind of run, and in what training with all labels differs."""


def draw_cohort(out: Path, kind: str, patients: int, seed: int) -> Path:
    """The cohort table of a phantom; drawn once."""
    folder = out / "cohorts" / f"{kind}-{patients}-{seed}"
    if not (folder / "cohort.csv").exists():
        if kind == "chest":
            make_phantom(folder, patients, seed=seed, matrix=48, image_format="nifti")
        else:
            make_pictures(folder, patients, seed=seed)
    return folder / "cohort.csv"


def tenth_of(table: Path, seed: int) -> Path:
    """A table beside it with a tenth of the patients of each class in train and in val, and all of test."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(seed)
    kept = [row for row in rows if row["split"] == "test"]
    for side in ("train", "val"):
        for label in sorted({row["label"] for row in rows}):
            members = [row for row in rows if row["split"] == side and row["label"] == label]
            kept += [members[i] for i in rng.permutation(len(members))[: max(2, round(len(members) / 10))]]
    path = table.with_name(f"tenth-{seed}.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(kept)
    return path


def targets_of(cases: Sequence[Case]) -> FloatArray:
    """(n, K) one-hot."""
    return np.stack([case.target for case in cases if case.target is not None])


def answered(folder: Path, cases: Sequence[Case], cache: Path) -> tuple[FloatArray, AnyArray]:
    """(n, K) calibrated probabilities of a model, and what it calls by its own thresholds."""
    predictor = Predictor.load(folder, "cpu")
    index, samples, _ = cache_samples(cases, predictor.folder.preprocessor, cache, lambda *_: None)
    assert len(index) == len(cases)
    answers = [predictor.answer(sample)[1] for sample in samples]
    assert all(answer.calibrated for answer in answers)
    probability = np.array([list(answer.probabilities.values()) for answer in answers])
    return probability, np.array([[label in answer.called for label in predictor.labels] for answer in answers])


def measured(phantom: Phantom, cases: Sequence[Case], probability: FloatArray, called: AnyArray) -> dict[str, float]:
    """Metrics on test patients."""
    scores = Scores(phantom.kind, phantom.labels, targets_of(cases), probability, called, np.arange(len(cases)))
    return {metric: point(metric, scores) for metric in phantom.metrics}


def frequencies(phantom: Phantom, few: Cohort, cases: Sequence[Case]) -> dict[str, float]:
    """Everybody has the frequencies among the labelled training patients."""
    rates = targets_of(few.with_split("train")).mean(0)
    probability = np.tile(rates, (len(cases), 1))
    return measured(phantom, cases, probability, decide(phantom.kind, probability))


def run_seed(table: Path, runs: Path, cache: Path, kind: str, modalities: str, seed: int) -> dict[str, Any]:
    """Pretrain once, train three classifiers, measure them."""
    phantom, choices = PHANTOMS[kind], CHOICES[kind]
    common = {"voxels": phantom.voxels, "modalities": modalities.split("+"), "tracker": "none", "seed": seed, **choices["common"]}
    aims = Aims({OBJECTIVES[modalities]: 1.0})
    pretrain(table, runs / "pre", aims, checked(common | choices["pretraining"]), device="cpu", cache=cache)
    few, fine = tenth_of(table, seed), common | choices["training"]
    for name, labelled, more in (
        ("scratch", few, {}), ("pretrained", few, {"init": str(runs / "pre")}),
        ("all_labels", table, choices["all_labels"]),
    ):  # fmt: skip
        train(labelled, runs / name, checked(fine | more), labels=phantom.labels, device="cpu", cache=cache)
    cases = read_cohort(table, labels=phantom.labels).with_split("test")
    found = {name: measured(phantom, cases, *answered(runs / name, cases, cache)) for name in ROWS if name != "frequencies"}
    return {"seed": seed, **found, "frequencies": frequencies(phantom, read_cohort(few, labels=phantom.labels), cases)}


def over_seeds(values: Sequence[float]) -> dict[str, float]:
    """Mean with its 95 % t interval."""
    mean, half = float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return {"mean": mean, "low": mean - half, "high": mean + half}


def lines_of(found: dict[str, Any]) -> list[str]:
    """Markdown."""
    metrics, seen, few = list(found["difference"]), found["patients"], found["labelled"]
    lines = [
        f"`{found['command']}`", "",
        f"Pretrained on {seen['train']} and {seen['val']} patients (train and val) without labels; then labels of {few['train']} "
        f"and {few['val']}; measured on {seen['test']} others. Means of {len(found['seeds'])} seeds with 95 % t intervals.", "",
        f"| | {' | '.join(metrics)} |", "|---|" + "---|" * len(metrics),
    ]  # fmt: skip
    for name, words in ROWS.items():
        lines.append(f"| {words} | {cells(found['rows'][name], metrics)} |")
    lines.append(f"| pretrained minus from scratch | {cells(found['difference'], metrics)} |")
    limits = " | ".join(f"{found['limits'][metric]:.3f}" for metric in metrics)
    return [*lines, f"| best possible | {limits} |"]


def cells(row: dict[str, dict[str, float]], metrics: Sequence[str]) -> str:
    """Of a row of the table."""
    return " | ".join("{mean:.3f} ({low:.3f} to {high:.3f})".format(**row[metric]) for metric in metrics)


def summary(given: argparse.Namespace, table: Path, seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """What is committed: how it was made, every seed, and means and differences over them."""
    metrics = PHANTOMS[given.kind].metrics
    sides, few = (Counter(c.split for c in read_cohort(path).cases) for path in (table, tenth_of(table, 0)))
    limits = json.loads(table.with_name("truth.json").read_text(encoding="utf-8"))["limits"][given.modalities]
    return {
        "command": shlex.join(["python", "benchmarks/pretraining.py", "OUT", *sys.argv[2:]]),
        "medmm": medmm.__version__, "kind": given.kind, "modalities": given.modalities.split("+"),
        "cohort_seed": given.cohort_seed, "patients": dict(sides), "labelled": dict(few), "choices": CHOICES[given.kind],
        "objectives": [OBJECTIVES[given.modalities]],
        "rows": {name: {m: over_seeds([row[name][m] for row in seeds]) for m in metrics} for name in ROWS},
        "difference": {m: over_seeds([row["pretrained"][m] - row["scratch"][m] for row in seeds]) for m in metrics},
        "limits": {m: limits[m] for m in metrics},
        "seeds": seeds,
    }  # fmt: skip


def main() -> None:
    """Pretrain, train and measure for every seed; write and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=sorted(PHANTOMS), default="chest")
    parser.add_argument("--modalities", choices=sorted(OBJECTIVES), default="text")
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--cohort-seed", type=int, default=21)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = draw_cohort(given.out, given.kind, given.patients, given.cohort_seed)
    name, seeds = f"{given.kind}-{given.modalities}", []
    for seed in range(given.seeds):
        runs = given.out / "runs" / f"{table.parent.name}-{given.modalities}" / str(seed)
        seeds.append(run_seed(table, runs, given.out / "cache", given.kind, given.modalities, seed))
        print(json.dumps(seeds[-1]), file=sys.stderr, flush=True)
    found = summary(given, table, seeds)
    lines = lines_of(found)
    for ending, text in (("json", json.dumps(found, indent=2)), ("md", "\n".join(lines))):
        (given.out / f"{name}.{ending}").write_text(text + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
