"""Pretrained to match images and notes, encoders answer by prompts, from few labels, and find pairs."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from medmm.errors import CohortError, LeakageError, ModelError, TaskError
from medmm.evaluation.embedded import Embedded, embed_cases, embed_texts
from medmm.evaluation.files import score_to_folder
from medmm.evaluation.retrieval import measure_retrieval
from medmm.evaluation.transfer import Prompts, few_shot, read_prompts, zero_shot
from medmm.pretrained.folder import Pretrained, load_pretrained
from medmm.sources.cohort import Cohort, read_cohort
from medmm.training import TrainConfig
from medmm.training.pretrain import Aims, pretrain
from medmm.types import Modality

LABELS = ("small", "large")
SIDES = ["train"] * 32 + ["val"] * 8 + ["test"] * 24
PROMPTS = Prompts(
    name="sizes", classes={"large": ("Lesion of 7 cm.", "Lesion of 8.5 cm."), "small": ("Lesion of 2 cm.", "Lesion of 3 cm.")}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort in which the note says how large the block in the image is, and encoders pretrained on its train and val."""
    out = tmp_path_factory.mktemp("matched")
    rng = np.random.default_rng(0)
    rows = []
    for i, side in enumerate(SIDES):
        reach = int(rng.integers(5, 8)) if i % 2 else int(rng.integers(1, 4))
        array = rng.normal(-700, 60, (16, 16, 16)).astype(np.int16)
        array[8 - reach : 8 + reach, 8 - reach : 8 + reach, 8 - reach : 8 + reach] = 60
        nibabel.Nifti1Image(array, np.diag([-4.0, -4.0, 4.0, 1.0])).to_filename(out / f"{i}.nii")
        rows.append({"study_id": f"S{i}", "patient_id": f"P{i}", "image": f"{i}.nii", "note": f"Lesion of {reach + 1} cm.",
                     "label": LABELS[i % 2], "split": side})  # fmt: skip
    with (out / "cohort.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    config = TrainConfig(
        epochs=40, patience=40, width=16, voxels=16**3, learning_rate=4e-3, batch_size=32, image_encoder="patch",
        encoder_options={"image": {"widths": [8, 16]}, "text": {"width": 16, "token_dropout": 0.0, "dropout": 0.0}}, augment=False,
    )  # fmt: skip
    pretrain(out / "cohort.csv", out / "pre", Aims({"infonce": 1.0}), config)
    return out


@pytest.fixture(scope="module")
def table(folder: Path) -> Cohort:
    return read_cohort(folder / "cohort.csv", labels=LABELS)


@pytest.fixture(scope="module")
def model(folder: Path) -> Pretrained:
    return load_pretrained(folder / "pre", torch.device("cpu"))


def answers(path: Path) -> tuple[Any, Any, list[dict[str, str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    truth = np.array([row["label"] == "large" for row in rows])
    return truth, np.array([[float(row[f"p__{name}"]) for name in LABELS] for row in rows]), rows


def seen(table: Cohort, model: Pretrained, side: str, modalities: tuple[Modality, ...], *, common: bool) -> Embedded:
    return embed_cases(table.with_split(side), model, modalities, common=common, on_progress=lambda *_: None)


def test_prompts_alone_tell_large_from_small(folder: Path, table: Cohort, model: Pretrained, tmp_path: Path) -> None:
    assert zero_shot(table, PROMPTS, model, tmp_path / "p.csv") == 0
    truth, p, rows = answers(tmp_path / "p.csv")
    assert [row["sample_id"] for row in rows] == [f"S{i}" for i, side in enumerate(SIDES) if side == "test"]
    np.testing.assert_allclose(p.sum(1), 1)
    assert roc_auc_score(truth, p[:, 1]) > 0.95
    results = score_to_folder(None, tmp_path / "p.csv", None, tmp_path)
    assert results.arms[0].metrics["auroc"].value == pytest.approx(roc_auc_score(truth, p[:, 1]))


def test_a_class_is_the_mean_of_its_prompts(table: Cohort, model: Pretrained, tmp_path: Path) -> None:
    zero_shot(table, PROMPTS, model, tmp_path / "p.csv")
    found = seen(table, model, "test", ("image",), common=True)
    means = [embed_texts(PROMPTS.classes[name], model).mean(0) for name in LABELS]
    cosine = np.stack([found.vectors["image"] @ (m / np.linalg.norm(m)) for m in means], axis=1)
    factor = float(np.exp(model.network.alignment.log_factor.item()))
    np.testing.assert_allclose(answers(tmp_path / "p.csv")[1], softmax(factor * cosine, axis=1), rtol=1e-4, atol=1e-7)


def test_of_many_labels_each_is_asked_present_against_absent(table: Cohort, model: Pretrained, tmp_path: Path) -> None:
    several = replace(table, kind="multilabel")
    findings: Any = {name: {"present": PROMPTS.classes[name], "absent": PROMPTS.classes[other]}
                     for name, other in (LABELS, LABELS[::-1])}  # fmt: skip
    zero_shot(several, Prompts(name="sizes", findings=findings), model, tmp_path / "many.csv")
    zero_shot(table, PROMPTS, model, tmp_path / "one.csv")
    with (tmp_path / "many.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    p = answers(tmp_path / "one.csv")[1]
    large = np.log(p[:, 1] / p[:, 0])
    np.testing.assert_allclose([float(row["p__large"]) for row in rows], expit(large), rtol=1e-4, atol=1e-7)
    assert rows[0]["label__large"] in ("0", "1")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("name: x\nclasses: {small: [a]}\n", "small, large"),
        ("name: x\nclasses: {small: [a], large: []}\n", "classes.large: Tuple should have at least 1 item"),
        ("name: x\nclasses: {small: [a], large: [' ']}\n", "classes.large.0: String should have at least 1 character"),
        ("name: x\nclasses: {small: [大 小], large: [有 无]}\n", "those of small and large are the same to it"),
        ("name: x\nclases: {}\n", "clases"),
        ("name: [", "no YAML in line 1"),
        ("name: x\nclasses:\n  small: [a]\n  large: [b]\n  small: [c]\n", "'small' stands twice, in lines 3 and 5"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(table: Cohort, model: Pretrained, tmp_path: Path, text: str, hint: str) -> None:
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(TaskError, match=hint):
        zero_shot(table, read_prompts(tmp_path / "p.yaml"), model, tmp_path / "p.csv")


def test_a_probe_is_logistic_regression_on_features_of_the_shots(table: Cohort, model: Pretrained, tmp_path: Path) -> None:
    few_shot(table, model, tmp_path / "p.csv", shots=16)
    sides = [seen(table, model, side, ("image",), common=False) for side in ("train", "test")]
    x, asked = (side.vectors["image"] for side in sides)
    y = np.array([int(case.target[1]) for case in sides[0].cases])  # type: ignore[index]
    scale = StandardScaler().fit(x)
    fitted = LogisticRegression(max_iter=1000).fit(scale.transform(x), y)
    truth, p, _ = answers(tmp_path / "p.csv")
    np.testing.assert_allclose(p, fitted.predict_proba(scale.transform(asked)), atol=1e-3)
    assert roc_auc_score(truth, p[:, 1]) > 0.95


def test_prototypes_are_class_means_of_unit_vectors(table: Cohort, model: Pretrained, tmp_path: Path) -> None:
    few_shot(table, model, tmp_path / "p.csv", shots=16, method="prototype", modality="text")
    sides = [seen(table, model, side, ("text",), common=False) for side in ("train", "test")]
    unit = [side.vectors["text"] / np.linalg.norm(side.vectors["text"], axis=1, keepdims=True) for side in sides]
    y = np.array([int(case.target[1]) for case in sides[0].cases])  # type: ignore[index]
    means = [unit[0][y == c].mean(0) for c in (0, 1)]
    cosine = np.stack([unit[1] @ (m / np.linalg.norm(m)) for m in means], axis=1)
    truth, p, _ = answers(tmp_path / "p.csv")
    np.testing.assert_allclose(p, softmax(10 * cosine, axis=1), atol=1e-9)
    assert roc_auc_score(truth, p[:, 1]) > 0.9


def test_what_few_shots_cannot_do_is_refused(table: Cohort, model: Pretrained, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"Lower --shots"):
        few_shot(table, model, tmp_path / "p.csv", shots=17)
    with pytest.raises(LeakageError, match="4 of them stand on it"):
        few_shot(table, replace(model, patients=frozenset()), tmp_path / "p.csv", shots=2, split="train")
    unread = replace(table, cases=tuple(replace(c, images=(tmp_path / "none.nii",)) for c in table.cases))
    with pytest.raises(CohortError, match=r"none of 4 could be read"):
        few_shot(unread, model, tmp_path / "p.csv", shots=2)
    first = table.with_split("train")[0]
    drawn = replace(table, cases=tuple(replace(c, images=(tmp_path / "none.nii",)) if c is first else c for c in table.cases))
    with pytest.raises(CohortError, match=r"1 of 32 cannot, the first for E_NO_IMAGE"):
        few_shot(drawn, model, tmp_path / "p.csv", shots=16)
    with pytest.raises(TaskError, match="multilabel"):
        few_shot(replace(table, kind="multilabel"), model, tmp_path / "p.csv", shots=2)


def test_what_is_not_asked_is_not_opened(table: Cohort, model: Pretrained, tmp_path: Path) -> None:
    broken = tmp_path / "broken.nii"
    broken.write_bytes(b"no image")
    cases = [replace(case, images=(broken,)) for case in table.with_split("test")[:3]]
    found = embed_cases(cases, model, ("text",), common=False, on_progress=lambda *_: None)
    assert (found.cases, found.failures) == (tuple(cases), ())


def test_who_is_not_answered_is_written_with_the_reason(table: Cohort, model: Pretrained, tmp_path: Path) -> None:
    first, second, *others = table.with_split("test")
    changed = (replace(first, images=()), replace(second, images=(tmp_path / "none.nii",)), *others)
    several = replace(table, cases=changed)
    assert zero_shot(several, PROMPTS, model, tmp_path / "p.csv") == 2
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
        codes = {row["sample_id"]: row["code"] for row in csv.DictReader(file)}
    assert (codes.pop(first.study_id), codes.pop(second.study_id)) == ("E_MISSING_MODALITY", "E_NO_IMAGE")
    assert codes == {case.study_id: "" for case in others}
    counts = score_to_folder(None, tmp_path / "p.csv", None, tmp_path).counts
    assert (counts.total, counts.scored, counts.failed) == (24, 22, 2)
    assert measure_retrieval(several, model).failed == 1  # without an image it is no pair


def test_patients_that_pretraining_saw_are_not_measured(table: Cohort, model: Pretrained, tmp_path: Path) -> None:
    with pytest.raises(LeakageError, match="saw 8"):
        zero_shot(table, PROMPTS, model, tmp_path / "p.csv", split="val")
    with pytest.raises(LeakageError, match="saw 32"):
        measure_retrieval(table, model, split="train")


def test_retrieval_counts_pairs_found_and_beats_chance(table: Cohort, model: Pretrained) -> None:
    found = measure_retrieval(table, model, ks=(1, 5, 10, 100))
    assert (found.n, found.patients, found.failed) == (24, 24, 0)
    assert [(row.direction, row.k) for row in found.recall] == [
        (direction, k) for direction in ("image_to_text", "text_to_image") for k in (1, 5, 10)
    ]
    both = seen(table, model, "test", ("image", "text"), common=True)
    similarity = both.vectors["image"] @ both.vectors["text"].T
    for row in found.recall:
        matrix = similarity if row.direction == "image_to_text" else similarity.T
        above, equal = (matrix > np.diag(matrix)[:, None]).sum(1), (matrix == np.diag(matrix)[:, None]).sum(1)
        assert row.value == pytest.approx(np.clip((row.k - above) / equal, 0, 1).mean())
        assert row.chance == row.k / 24
        assert row.low is not None
        assert row.high is not None
        assert row.low <= row.value <= row.high
    at_five = {row.direction: row for row in found.recall if row.k == 5}
    assert all(row.low > row.chance for row in at_five.values() if row.low is not None)
    assert max(found.median_rank.values()) < 12.5


def test_without_a_common_space_there_is_neither(folder: Path, table: Cohort, tmp_path: Path) -> None:
    config = TrainConfig(epochs=1, width=16)
    pretrain(folder / "cohort.csv", tmp_path / "pre", Aims({"masked_language": 1.0}), config)
    alone = load_pretrained(tmp_path / "pre", torch.device("cpu"))
    with pytest.raises(ModelError, match="infonce or sigmoid"):
        measure_retrieval(table, alone)


def test_the_commands_write_predictions_and_numbers(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.yaml").write_text(json.dumps(PROMPTS.model_dump(exclude={"findings"})), encoding="utf-8")
    start = [sys.executable, "-m", "medmm"]
    given = [str(folder / "cohort.csv"), "--model", str(folder / "pre")]
    for command in (["zeroshot", "--prompts", str(tmp_path / "prompts.yaml")], ["fewshot", "--shots", "4"]):
        out = tmp_path / f"{command[0]}.csv"
        done = subprocess.run(
            [*start, command[0], *given, *command[1:], "--labels", "small,large", "--out", str(out)],
            capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert len(answers(out)[2]) == 24
    done = subprocess.run([*start, "eval", "retrieval", *given, "--json"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 24
