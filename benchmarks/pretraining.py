"""Does pretraining without labels help when few labels are there? Paired over seeds, on a phantom.

    python benchmarks/pretraining.py OUT --modalities text --patients 600 --epochs 60

For each seed: encoders are pretrained on all training patients of the phantom without their labels; a classifier is
trained on a tenth of the labels once from these and once from scratch, with the same choices; both are measured on the
same test patients, whom neither saw. Writes `pretraining.json` and prints the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from medmm.inference import Predictor
from medmm.sources.cohort import read_cohort
from medmm.sources.phantom import make_phantom
from medmm.training import TrainConfig, train
from medmm.training.pretrain import Aims, pretrain

LABELS = ("negative", "positive")
OBJECTIVE = {"image": "masked_image", "text": "masked_language"}


def tenth_of(table: Path, seed: int) -> Path:
    """A table beside it with the labels of a tenth of the patients of train and val, classes in proportion, and all of test."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(seed)
    kept = [row for row in rows if row["split"] == "test"]
    for side in ("train", "val"):
        for label in LABELS:
            members = [row for row in rows if row["split"] == side and row["label"] == label]
            kept += [members[i] for i in rng.permutation(len(members))[: max(2, round(len(members) / 10))]]
    path = table.with_name(f"tenth-{seed}.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(kept)
    return path


def measured(folder: Path, studies: list[Any], truth: np.ndarray) -> dict[str, float]:
    """AUROC and log-loss of a model on test patients."""
    model = Predictor.load(folder, "cpu")
    p = np.array([model.predict(study).answer.probabilities["positive"] for study in studies])
    return {"auroc": float(roc_auc_score(truth, p)), "log_loss": float(log_loss(truth, p))}


def paired(rows: list[dict[str, Any]], metric: str) -> dict[str, float]:
    """Mean difference, pretrained minus scratch, with its 95 % t interval over seeds."""
    differences = np.array([row["pretrained"][metric] - row["scratch"][metric] for row in rows])
    half = stats.t.ppf(0.975, len(rows) - 1) * differences.std(ddof=1) / np.sqrt(len(rows))
    return {"mean": float(differences.mean()), "low": float(differences.mean() - half), "high": float(differences.mean() + half)}


def main() -> None:
    """Pretrain, train and measure for every seed; write and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--modalities", default="text")
    parser.add_argument("--patients", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=60, help="of pretraining")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    modalities = tuple(given.modalities.split("+"))
    if not (given.out / "phantom").exists():
        make_phantom(given.out / "phantom", given.patients, seed=11, matrix=48, image_format="nifti")
    table = given.out / "phantom" / "cohort.csv"
    cases = read_cohort(table, labels=LABELS).with_split("test")
    truth = np.array([case.target[1] for case in cases])
    studies = [case.open() for case in cases]
    choices = {"modalities": modalities, "voxels": 24**3, "width": 64, "image_encoder": "patch",
               "encoder_options": {"image": {"widths": [24, 48]}}}  # fmt: skip
    aims = Aims({OBJECTIVE[name]: 1.0 for name in modalities}, mask_patch=6)
    rows = []
    for seed in range(given.seeds):
        runs = given.out / given.modalities / str(seed)
        pretrain(table, runs / "pre", aims, TrainConfig(**choices, epochs=given.epochs, batch_size=32, seed=seed))
        few = tenth_of(table, seed)
        fine = {**choices, "epochs": 30, "seed": seed}
        train(few, runs / "scratch", TrainConfig(**fine), labels=LABELS)
        train(few, runs / "pretrained", TrainConfig(**fine, init=str(runs / "pre")), labels=LABELS)
        rows.append({"seed": seed, **{name: measured(runs / name, studies, truth) for name in ("scratch", "pretrained")}})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    content = {
        "modalities": list(modalities), "patients": given.patients, "labelled": sum(1 for _ in few.open()) - 1 - len(cases),
        "test": len(cases), "pretraining_epochs": given.epochs, "objectives": list(aims.objectives), "seeds": rows,
        "difference": {metric: paired(rows, metric) for metric in ("auroc", "log_loss")},
    }  # fmt: skip
    (given.out / f"pretraining-{given.modalities}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(content["difference"], indent=2))


if __name__ == "__main__":
    main()
