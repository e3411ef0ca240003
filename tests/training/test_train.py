"""From a cohort to a model folder: repeatable to the byte, resumable, and blind to the test split."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medmm import open_study
from medmm.errors import CohortError, LeakageError, MissingModalityError, ModelError, StoreError, TaskError
from medmm.inference import Predictor
from medmm.leakage import LeakageWarning, Scan
from medmm.metrics.recalibration import fit_calibrator
from medmm.model_folder import load_model_folder
from medmm.training import TrainConfig, train
from medmm.training.config import config_from
from medmm.training.partners import IdleWarning

LABELS = ("no_large", "large")
PRODUCTS = ["model.safetensors", "calibration.json", "thresholds.json", "golden.json", "tokenizer.json", "config.json", "split.csv"]
MIXED = TrainConfig(epochs=6, width=16, voxels=8**3, learning_rate=4e-3)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def same_products(one: Path, other: Path, names: list[str] = PRODUCTS) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return {name: [(e.step, e.value) for e in read.Scalars(name)] for name in read.Tags()["scalars"]}


@pytest.fixture(scope="module")
def run(note_cohort: Path, text_only: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "notes"
    train(note_cohort, out, text_only, labels=LABELS)
    return out


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    run: Path, note_cohort: Path, text_only: TrainConfig, tmp_path: Path
) -> None:
    train(note_cohort, tmp_path / "same", text_only, labels=LABELS)
    train(note_cohort, tmp_path / "other", replace(text_only, seed=1), labels=LABELS)
    assert same_products(run, tmp_path / "same")
    assert not same_products(run, tmp_path / "other", ["model.safetensors"])


def test_the_run_folder_is_a_model_folder_with_a_record_and_nothing_left_over(run: Path, text_only: TrainConfig) -> None:
    assert Predictor.load(run, "cpu").labels == LABELS
    assert json.loads((run / "train.json").read_text())["config"] == json.loads(json.dumps(text_only.to_dict()))
    names = {p.name for p in run.iterdir()}
    assert names == {*PRODUCTS, "sha256.json", "card.md", "train.json", "failures.csv", "scan.json", "tensorboard"}
    assert rows_of(run / "failures.csv") == []


def test_tensorboard_has_every_epoch(run: Path, text_only: TrainConfig) -> None:
    found = scalars(run / "tensorboard")
    assert set(found) == {"loss/train", "learning_rate", "val/f1_macro", "val/loss"}
    assert [step for step, _ in found["loss/train"]] == list(range(text_only.epochs))


def test_a_finished_run_is_left_as_it_is(run: Path, note_cohort: Path, text_only: TrainConfig) -> None:
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
    assert train(note_cohort, run, text_only, labels=LABELS).best_epochs == ()
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: {"config": replace(c, epochs=5)}, "epochs"),
        (lambda c: {"config": replace(c, loss_parts={"fused": 1.0})}, "loss_parts"),
        (lambda _: {"labels": LABELS[::-1]}, "labels"),
        (lambda _: {"folds": 3}, "folds"),
    ],
)
def test_a_run_folder_of_another_run_is_refused_naming_the_difference(
    run: Path, note_cohort: Path, text_only: TrainConfig, change: Callable[[TrainConfig], dict[str, Any]], named: str
) -> None:
    with pytest.raises(StoreError, match=f"another {named}"):
        train(note_cohort, run, **{"config": text_only, "labels": LABELS, **change(text_only)})


def test_an_edited_cohort_is_another_run(
    run: Path, note_rows: Any, write_cohort: Any, text_only: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="another cohort"):
        train(write_cohort(tmp_path, note_rows(81)), run, text_only, labels=LABELS)


def test_a_run_folder_that_cannot_be_written_is_refused(note_cohort: Path, text_only: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot"):
        train(note_cohort, tmp_path / "file", text_only)


def test_the_test_split_is_never_opened(imaged_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    rows = imaged_rows(40)
    plain = train(write_cohort(tmp_path / "a", rows), tmp_path / "plain", MIXED, labels=LABELS)
    for row in rows:
        if row["split"] == "test":
            bad = tmp_path / f"{row['study_id']}.zip"
            bad.write_bytes(b"PK\x03\x04 damaged")
            row.update(image=str(bad), note="lost.txt", label="large")
    spoiled = train(write_cohort(tmp_path / "b", rows), tmp_path / "spoiled", MIXED, labels=LABELS)
    assert (plain.n_train, plain.n_val) == (spoiled.n_train, spoiled.n_val) == (24, 10)
    assert spoiled.failures == ()
    assert same_products(plain.folder, spoiled.folder)


def test_words_are_learned_from_training_notes_alone(
    note_rows: Any, write_cohort: Any, text_only: TrainConfig, tmp_path: Path
) -> None:
    rows = note_rows(60)
    for row in rows:
        row["note"] += {"train": " Okapi.", "val": " Zebra.", "test": " Giraffe."}[row["split"]]
    out = train(write_cohort(tmp_path, rows), tmp_path / "run", replace(text_only, epochs=1), labels=LABELS).folder
    vocabulary = json.loads((out / "tokenizer.json").read_text())["model"]["vocab"]
    assert "okapi" in vocabulary
    assert not {"zebra", "giraffe"} & set(vocabulary)


def test_calibration_and_thresholds_are_fitted_on_val_alone(run: Path, note_cohort: Path) -> None:
    predictor = Predictor.load(run, "cpu")
    val = [r for r in rows_of(note_cohort) if r["split"] == "val"]
    answers = [predictor.predict(open_study(None, note=r["note"])).answer for r in val]
    logits = np.array([[a.logits[name] for name in LABELS] for a in answers])
    target = np.array([[float(r["label"] == name) for name in LABELS] for r in val])
    expected = fit_calibrator("binary", target, logits)
    stored = predictor.folder.calibrators["text"]
    assert stored.n == len(val) == 20
    assert stored.slope == pytest.approx(expected.slope, rel=1e-3)
    assert stored.bias == pytest.approx(expected.bias, abs=1e-3)
    assert predictor.folder.thresholds["text"].split == "val"


def test_failed_studies_are_told_and_the_rest_is_trained_on(
    note_rows: Any, write_cohort: Any, text_only: TrainConfig, tmp_path: Path
) -> None:
    cohort = write_cohort(tmp_path, note_rows(60, note=lambda i: "lost.txt" if i == 4 else f"lesion of {5 + 40 * (i % 2)} mm"))
    done = [train(cohort, tmp_path / "run", text_only, labels=LABELS) for _ in range(2)]
    assert done[0].n_train == 35
    assert [(r["study_id"], r["code"]) for r in rows_of(tmp_path / "run" / "failures.csv")] == [("S4", "E_TEXT")]
    assert done[0].failures == done[1].failures  # a finished run still tells


def test_patients_stay_together_when_the_cohort_states_no_split(
    note_rows: Any, write_cohort: Any, text_only: TrainConfig, tmp_path: Path
) -> None:
    rows = note_rows(60, split=lambda _: "", patient_id=lambda i: f"P{i // 4}")
    train(write_cohort(tmp_path, rows), tmp_path / "run", replace(text_only, epochs=1), labels=LABELS)
    sides: dict[str, set[str]] = {}
    for row in rows_of(tmp_path / "run" / "split.csv"):
        sides.setdefault(row["patient_id"], set()).add(row["split"])
    assert len(sides) == 15
    assert all(len(s) == 1 for s in sides.values())
    assert {s for found in sides.values() for s in found} == {"train", "val", "test"}


def test_any_modality_may_be_missing_in_training(imaged_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    rows = imaged_rows(40)
    for i, row in enumerate(rows):
        if i % 3:
            row["image" if i % 3 == 1 else "note"] = ""
    done = train(write_cohort(tmp_path, rows), tmp_path / "run", MIXED, labels=LABELS)
    assert done.failures == ()
    predictor = Predictor.load(done.folder, "cpu")
    answers = predictor.predict(open_study(rows[0]["image"], note=rows[0]["note"]))
    assert set(answers.single) == {"image", "text"}


def test_the_weight_of_the_votes_is_that_of_the_configuration_and_changes_the_joint_answer(
    imaged_rows: Any, write_cohort: Any, tmp_path: Path
) -> None:
    rows = imaged_rows(40)
    cohort, study = write_cohort(tmp_path, rows), open_study(rows[0]["image"], note=rows[0]["note"])
    joint = {}
    for vote in (0.0, 2.0):
        config = replace(MIXED, epochs=1, vote=vote)
        predictor = Predictor.load(train(cohort, tmp_path / f"vote {vote}", config, labels=LABELS).folder, "cpu")
        found, model = predictor.predict(study), predictor.folder.model
        given = predictor.folder.preprocessor.collate([predictor.folder.preprocessor.prepare(study)[0]])
        fused = model.fuse(model.encode(given), given.present)[0].tolist()
        own = found.single["image"].logits, found.single["text"].logits
        joint[vote] = [found.answer.logits[name] for name in LABELS]
        assert joint[vote] == pytest.approx(
            [f + vote * sum(o[n] for o in own) for f, n in zip(fused, LABELS, strict=True)], abs=1e-5
        )
    assert joint[0.0] != pytest.approx(joint[2.0], abs=1e-3)


def test_a_fusion_layer_is_built_with_its_options_in_training_and_when_the_model_is_opened(
    imaged_rows: Any, write_cohort: Any, tmp_path: Path
) -> None:
    cohort, options = write_cohort(tmp_path, imaged_rows(40)), {"lowrank": {"rank": 3}, "transformer": {"depth": 2}}
    config = replace(MIXED, epochs=1, fusion="lowrank", fusion_options=options)
    with pytest.warns(IdleWarning, match=r"fusion_options\.transformer\.depth without fusion=transformer"):
        out = train(cohort, tmp_path / "run", config, labels=LABELS).folder
    model = load_model_folder(out, torch.device("cpu")).model
    assert model.config.fusion_options == {"rank": 3}
    assert len(model.fusion.ranks) == 3
    with pytest.raises(TaskError, match=r"a fusion and options that fit.*divisible"):
        train(
            cohort,
            tmp_path / "other",
            replace(config, fusion="attention", fusion_options={"attention": {"heads": 7}}),
            labels=LABELS,
        )


def test_a_single_image_in_the_whole_cohort_does_not_stop_training(imaged_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    rows = imaged_rows(40)
    for row in rows[1:]:
        row["image"] = ""
    assert train(write_cohort(tmp_path, rows), tmp_path / "run", replace(MIXED, epochs=2), labels=LABELS).n_train == 24


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_more_than_two_classes_and_several_labels_are_learned(
    note_rows: Any, write_cohort: Any, text_only: TrainConfig, tmp_path: Path, kind: str
) -> None:
    rows = note_rows(90, note=lambda i: f"lesion of {(3, 30, 300)[i % 3]} mm", label=lambda i: f"c{i % 3}")
    if kind == "multilabel":
        for i, row in enumerate(rows):
            del row["label"]
            row |= {"label__big": "" if i % 10 == 0 else int(i % 3 == 2), "label__small": int(i % 3 == 0)}
    out = train(write_cohort(tmp_path, rows), tmp_path / "run", replace(text_only, epochs=12)).folder
    predictor = Predictor.load(out, "cpu")
    called = [predictor.predict(open_study(None, note=f"lesion of {size} mm")).answer.called for size in (3, 30, 300)]
    assert called == ([("c0",), ("c1",), ("c2",)] if kind == "multiclass" else [("small",), (), ("big",)])


def test_folds_predict_every_case_but_the_test_split_by_weights_that_did_not_see_it(
    note_rows: Any, write_cohort: Any, text_only: TrainConfig, tmp_path: Path
) -> None:
    rows = note_rows(60, split=lambda i: "test" if i >= 48 else "train", patient_id=lambda i: f"P{i // 2}")
    done = train(write_cohort(tmp_path, rows), tmp_path / "run", text_only, folds=3, labels=LABELS)
    assert done.n_train == 48
    predicted = rows_of(done.folder / "predictions.csv")
    assert sorted(int(r["sample_id"][1:]) for r in predicted) == list(range(48))
    assert all(float(r["p__large"]) + float(r["p__no_large"]) == pytest.approx(1) for r in predicted)
    folds = {r["patient_id"]: r["split"] for r in rows_of(done.folder / "split.csv")}
    assert set(folds.values()) == {"fold 0", "fold 1", "fold 2"}
    thresholds = json.loads((done.folder / "thresholds.json").read_text())
    assert thresholds["text"]["split"] == "out-of-fold"
    assert Predictor.load(done.folder, "cpu").folder.calibrators["text"].n == 48
    for part in ("tensorboard", "tensorboard-fold0", "tensorboard-fold1", "tensorboard-fold2", "tensorboard-fold0-1"):
        assert len(scalars(done.folder / part)["loss/train"]) == text_only.epochs


@pytest.mark.parametrize("nested", [True, False])
def test_a_label_of_a_fold_does_not_reach_that_folds_answers(
    note_rows: Any, write_cohort: Any, text_only: TrainConfig, tmp_path: Path, *, nested: bool
) -> None:
    """The honest part of cross-validation, checked by lying about one fold."""
    told = []
    for lie in (False, True):
        rows = note_rows(60, split=lambda _: "", fold=lambda i: f"f{i // 2 % 3}")
        for i, row in enumerate(rows):
            if lie and i // 2 % 3 == 0:
                row["label"] = LABELS[1 - LABELS.index(row["label"])]
        cohort, config = write_cohort(tmp_path / str(lie), rows), replace(text_only, nested=nested)
        out = train(cohort, tmp_path / f"run{lie}", config, folds="fold", labels=LABELS).folder
        told.append({r["sample_id"]: r for r in rows_of(out / "predictions.csv")})
    before, after = told
    assert len(before) == 60
    kept = {
        column: {name for name in before if before[name][column] == after[name][column]} for column in ("logit__large", "p__large")
    }
    of_the_fold = {f"S{i}" for i in range(60) if i // 2 % 3 == 0}
    assert kept["logit__large"] == of_the_fold
    assert kept["p__large"] == (of_the_fold if nested else set())  # else through weights that its calibration comes from


@pytest.mark.parametrize(
    ("folds", "columns", "error"),
    [
        (1, {}, CohortError),
        (0, {}, CohortError),
        (61, {}, CohortError),
        ("absent", {}, CohortError),
        ("fold", {"fold": lambda i: "" if i == 3 else i % 3}, CohortError),
        ("fold", {"fold": lambda _: "a"}, CohortError),
        ("fold", {"fold": lambda i: i % 3, "patient_id": lambda i: f"P{i // 2}"}, LeakageError),
    ],
)
def test_folds_that_cannot_be_made_or_tear_a_patient_apart_are_refused(
    note_rows: Any,
    write_cohort: Any,
    text_only: TrainConfig,
    tmp_path: Path,
    folds: int | str,
    columns: Any,
    error: type[Exception],
) -> None:
    cohort = write_cohort(tmp_path, note_rows(60, split=lambda _: "", **columns))
    with pytest.raises(error):
        train(cohort, tmp_path / "run", text_only, folds=folds, labels=LABELS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": lambda _: ""}, "label column"),
        ({"split": lambda i: "train" if i < 5 else "test"}, "at least 8 readable"),
        ({"split": lambda i: "train" if i % 2 else "test"}, "without no_large"),
        ({"note": lambda i: "x.txt"}, "at least 8 readable"),
    ],
)
def test_a_cohort_that_cannot_be_trained_on_is_refused(
    note_rows: Any, write_cohort: Any, text_only: TrainConfig, tmp_path: Path, columns: Any, message: str
) -> None:
    with pytest.raises(CohortError, match=message):
        train(write_cohort(tmp_path, note_rows(40, **columns)), tmp_path / "run", text_only)


def test_a_misspelt_fusion_is_refused_before_anything_is_written(note_cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="Did you mean 'weighted'"):
        train(note_cohort, tmp_path / "run", TrainConfig(fusion="weigthed"))
    assert not (tmp_path / "run").exists()


POINTS = [("reading studies", 20), ("training fold0", 2), ("training fold1", 4), ("training", 1), ("training", 4)]


@pytest.fixture(scope="module")
def folds_undisturbed(note_cohort: Path, text_only: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(note_cohort, tmp_path_factory.mktemp("folds") / "run", text_only, folds=2, labels=LABELS).folder


@pytest.mark.parametrize("point", POINTS, ids=lambda p: f"{p[0]}-{p[1]}")
def test_cross_validation_interrupted_anywhere_ends_the_same(
    folds_undisturbed: Path, note_cohort: Path, text_only: TrainConfig, tmp_path: Path, point: tuple[str, int]
) -> None:
    def interrupt(what: str, done: int, _: int) -> None:
        if (what, done) == point:
            raise KeyboardInterrupt

    again = {"folds": 2, "labels": LABELS}
    with pytest.raises(KeyboardInterrupt):
        train(note_cohort, tmp_path / "run", text_only, on_progress=interrupt, **again)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="Is training finished"):
        Predictor.load(tmp_path / "run", "cpu")
    train(note_cohort, tmp_path / "run", text_only, **again)  # type: ignore[arg-type]
    assert same_products(folds_undisturbed, tmp_path / "run", [*PRODUCTS, "predictions.csv"])


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "medmm", *map(str, arguments)]


def kill_when(arguments: list[str], ready: Callable[[], bool]) -> None:
    """Start, wait until `ready`, and kill without a warning."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -9


def test_a_training_killed_twice_ends_as_one_left_alone(imaged_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path, imaged_rows(60))
    choices = ["--epochs", 8, "--set", "voxels=512", "--set", "width=16", "--labels", ",".join(LABELS)]
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    train(cohort, alone, TrainConfig(epochs=8, voxels=512, width=16), labels=LABELS)
    again = command("train", cohort, "--out", killed, *choices)
    checkpoint = killed / "checkpoint.safetensors"
    kill_when(again, lambda: len(list(killed.glob("cache/*/*.safetensors"))) > 5)
    assert not checkpoint.exists()
    seen: set[int] = set()

    def third_epoch() -> bool:
        if checkpoint.exists():
            seen.add(checkpoint.stat().st_mtime_ns)
        return len(seen) > 2

    kill_when(again, third_epoch)
    assert checkpoint.exists()
    assert not (killed / "sha256.json").exists()
    finished = subprocess.run(again, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (0, "")
    assert set(json.loads((alone / "calibration.json").read_text())) == {"image+text", "image", "text"}
    assert same_products(alone, killed)
    assert not checkpoint.exists()
    steps = [step for step, _ in scalars(killed / "tensorboard")["loss/train"]]
    assert sorted(set(steps)) == [step for step, _ in scalars(alone / "tensorboard")["loss/train"]]
    assert steps.count(0) == 1  # it went on, it did not start over


def test_a_fusion_of_an_installed_plug_in_is_trained_and_needed_to_open_the_model(
    note_cohort: Path, text_only: TrainConfig, install_plugin: Any, tmp_path: Path
) -> None:
    site = install_plugin("strongest")
    out = tmp_path / "run"
    arguments = command("train", note_cohort, "--out", out, "--fusion", "strongest", "--epochs", 1, "--labels", ",".join(LABELS))
    with_plugin = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    subprocess.run(arguments, env=with_plugin, check=True, capture_output=True)
    with pytest.raises(ModelError, match=r"'strongest'.*plug-in"):
        Predictor.load(out, "cpu")


def test_the_command_exits_with_3_when_studies_failed_and_with_2_on_a_typing_error(
    note_rows: Any, write_cohort: Any, tmp_path: Path
) -> None:
    cohort = write_cohort(tmp_path, note_rows(40, note=lambda i: "lost.txt" if i == 4 else f"lesion of {5 + 40 * (i % 2)} mm"))
    arguments = command("train", cohort, "--out", tmp_path / "run", "--epochs", 1, "--labels", ",".join(LABELS))
    failed = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (3, "")
    assert "1 studies failed" in failed.stderr
    misspelt = subprocess.run([*arguments, "--set", "epoch=2"], capture_output=True, text=True, check=False)
    assert misspelt.returncode == 2
    assert "E_TASK" in misspelt.stderr
    assert "Did you mean epochs?" in misspelt.stderr
    shutil.rmtree(tmp_path / "run")


def test_a_cohort_of_pictures_is_learned_too(note_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    from PIL import Image

    rows = note_rows(40, note=lambda _: "")
    for i, row in enumerate(rows):
        row["image"] = str(tmp_path / f"{i}.png")
        grey = np.random.default_rng(i).integers(0, 60, (48, 64), dtype=np.uint8)
        if i % 2:
            grey[8:30, 20:50] += 150
        Image.fromarray(grey).save(row["image"])
    done = train(write_cohort(tmp_path, rows), tmp_path / "run", replace(MIXED, voxels=48 * 64), labels=LABELS)
    predictor = Predictor.load(done.folder, "cpu")
    bright = [predictor.predict(open_study(row["image"])).answer.probabilities["large"] for row in rows[-6:]]
    assert min(bright[1::2]) > max(bright[::2])


def report(row: dict[str, Any]) -> str:
    """The row's note as an indication, above a reading that states the label."""
    return f"INDICATION: {row['note']}\nFINDINGS: {'Malignant' if row['label'] == 'large' else 'Benign'} lesion."


@pytest.fixture(scope="module")
def report_cohort(note_rows: Any, write_cohort: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [row | {"note": report(row)} for row in note_rows(80)]
    path: Path = write_cohort(tmp_path_factory.mktemp("reports"), rows)
    return path


def test_with_labels_from_reports_findings_are_read_neither_in_training_nor_in_use(
    report_cohort: Path, text_only: TrainConfig, tmp_path: Path
) -> None:
    found: list[Scan] = []
    train(report_cohort, tmp_path / "run", replace(text_only, labels_from="reports"), labels=LABELS, on_scan=found.append)
    predictor = Predictor.load(tmp_path / "run", "cpu")
    indication = "INDICATION: 61-year-old. Lesion of 2.0 cm."
    short = predictor.predict(open_study(None, indication))
    whole = predictor.predict(open_study(None, f"{indication}\nFINDINGS: Malignant lesion."))
    assert whole.answer.logits == short.answer.logits
    assert "alignant" not in str(whole.text_used)
    assert [n.code for n in whole.notices if n.code not in {n.code for n in short.notices}] == ["W_NOTE_SECTIONS"]
    vocabulary = json.loads((tmp_path / "run" / "tokenizer.json").read_text())["model"]["vocab"]
    assert {"lesion", "malignant", "benign"} & set(vocabulary) == {"lesion"}
    assert "Notes: indication alone" in (tmp_path / "run" / "card.md").read_text()
    assert not found[0].giveaways
    with pytest.raises(MissingModalityError):
        predictor.predict(open_study(None, "Malignant lesion under no heading."))


def test_the_whole_report_is_read_when_the_config_says_so_and_the_scan_tells_what_it_gives_away(
    report_cohort: Path, text_only: TrainConfig, tmp_path: Path
) -> None:
    config = replace(text_only, epochs=1, labels_from="reports", note_sections=("indication", "findings"))
    with pytest.warns(LeakageWarning, match="2 of"):
        train(report_cohort, tmp_path / "run", config, labels=LABELS)
    scan = json.loads((tmp_path / "run" / "scan.json").read_text())
    assert {g["name"] for g in scan["giveaways"]} == {"malignant", "benign"}
    card = (tmp_path / "run" / "card.md").read_text()
    assert "Leakage scan: 2 of" in card
    assert "alignant" not in card


def test_notes_without_an_indication_are_refused_when_labels_come_from_reports(
    note_cohort: Path, text_only: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(CohortError, match="under indication"):
        train(note_cohort, tmp_path / "run", replace(text_only, labels_from="reports"), labels=LABELS)


def test_recordings_are_refused_when_labels_come_from_reports(
    note_rows: Any, write_cohort: Any, text_only: TrainConfig, tmp_path: Path
) -> None:
    cohort = write_cohort(tmp_path, note_rows(40, audio=lambda _: "said.wav"))
    with pytest.raises(LeakageError, match="leave audio out"):
        train(cohort, tmp_path / "run", replace(text_only, labels_from="reports"), labels=LABELS)


def test_everything_that_varies_training_follows_from_the_seed(note_cohort: Path, text_only: TrainConfig, tmp_path: Path) -> None:
    changes = ["augmentation.text.typos=0.2", "augmentation.text.synonyms=0.5", "augmentation.text.tokens=0.1", "mixup=0.4",
               "adversarial.method=pgd", "adversarial.text=0.05"]  # fmt: skip
    config = config_from(text_only.to_dict(), changes)
    for name in ("one", "other"):
        train(note_cohort, tmp_path / name, config, labels=LABELS)
    assert same_products(tmp_path / "one", tmp_path / "other")
    with pytest.warns(IdleWarning, match="without augment=true"):
        train(note_cohort, tmp_path / "plain", replace(config, augment=False), labels=LABELS)
    assert not same_products(tmp_path / "one", tmp_path / "plain", ["model.safetensors"])
    losses = [value for _, value in scalars(tmp_path / "one" / "tensorboard")["loss/train"]]
    assert losses[-1] < losses[0]
